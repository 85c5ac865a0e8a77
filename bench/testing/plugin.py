"""The pytest plug-in, which every pytest loads where the suite is installed: its imports are quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from bench.testing.cells import MeasuredCell

MARK = "bench"
PROPERTY = "bench"
"""The name of what a report keeps of each limit: JUnit's XML has it too."""

_CLOCK = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "bench_results", "Folder of what marks and bench_cell measure (default: in pytest's cache)."
    )


def pytest_configure(config: pytest.Config) -> None:
    about = (
        "bench(max_latency_ms=5, min_accuracy=0.9, ..., budget_s=60, strict=False, backend='cpu-eager', "
        "compression='none', batch_size=1): measure the model that the test returns as (model, inputs) or "
        "(model, inputs, targets), and hold it against limits."
    )
    config.addinivalue_line("markers", about)
    cells = _WithBenchmark() if config.pluginmanager.hasplugin("benchmark") else _WithoutBenchmark()
    config.pluginmanager.register(cells, "bench-cell")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test of cells a clock that pytest-benchmark reads; other settings of its mark stay."""
    installed = item.config.pluginmanager.hasplugin("benchmark")
    if not installed or "bench_cell" not in getattr(item, "fixturenames", ()):
        return
    from bench.testing.clock import LaunchClock

    clock = item.stash[_CLOCK] = LaunchClock()
    own = item.get_closest_marker("benchmark")
    settings = {**(own.kwargs if own else {}), "timer": clock.launch_clock}
    item.add_marker(pytest.mark.benchmark(**settings), append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Call a marked test, measure the model that it returns, and fail where a limit is broken."""
    mark = pyfuncitem.get_closest_marker(MARK)
    if mark is None or not (mark.args or mark.kwargs):  # a bare mark is the project's own, to select tests by
        return None
    from bench.errors import BenchError
    from bench.testing.marked import check_model, failures, read_mark
    from techniques.registry import TechniqueError

    try:
        request = read_mark(mark.args, mark.kwargs)
        names = pyfuncitem._fixtureinfo.argnames  # as pytest's own call of a test takes them
        returned = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
        findings = check_model(request, returned, results_folder(pyfuncitem.config))
    except (BenchError, TechniqueError) as error:
        _fail(str(error))
    lines = [f"{finding.verdict}: {finding.text}" for finding in findings]
    pyfuncitem.user_properties += [(PROPERTY, line) for line in lines]
    failed = failures(request, findings)
    if failed:
        _fail("\n".join(f"{finding.verdict}: {finding.text}" for finding in failed))
    return True


def _fail(message: str) -> NoReturn:
    raise pytest.fail.Exception(message, pytrace=False) from None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each limit of which nobody can tell whether it is kept, and with -v all of them."""
    shown = [line for line in _told(terminalreporter) if _is_shown(line, terminalreporter.verbosity)]
    if shown:
        terminalreporter.section("limits")
        for line in shown:
            terminalreporter.write_line(line)


def _told(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if getattr(report, "when", "") == "call":
                lines = [str(value) for name, value in report.user_properties if name == PROPERTY]
                yield from (f"{report.nodeid}: {line}" for line in lines)


def _is_shown(line: str, verbosity: int) -> bool:
    return verbosity > 0 or any(f": {verdict}: " in line for verdict in ("can't tell", "not comparable"))


def results_folder(config: pytest.Config) -> Path:
    """Return the folder that tests measure in: each process of pytest-xdist has its own."""
    import os

    named = config.getini("bench_results")
    if named:
        folder = config.rootpath / named
    elif getattr(config, "cache", None) is not None:
        folder = config.cache.mkdir("bench")
    else:
        folder = config.rootpath / "results"
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return folder / worker if worker else folder


class _WithoutBenchmark:
    """The fixture where pytest-benchmark is missing."""

    @pytest.fixture
    def bench_cell(self) -> None:
        """Measure a cell under pytest-benchmark; requires that it is installed."""
        _fail("bench_cell requires the package pytest-benchmark: pip install pytest-benchmark")


class _WithBenchmark:
    """The fixture under pytest-benchmark."""

    @pytest.fixture
    def bench_cell(self, request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Mapping[str, Any]]:
        """Measure a cell under pytest-benchmark: its rounds are launches, each with its median time.

        Call it as `bench_cell(model, inputs, ...)`, or `bench_cell(workload="digits", optimizer="adam", ...)`
        with the names of a matrix, and `compression`, `backend`, `precision` or `batch_size`. It returns what
        `benchmark.extra_info` has then: FLOPs, memory, quality and more by the names of our metrics. Where
        benchmarks are disabled, there is one launch.
        """
        clock, results = request.node.stash[_CLOCK], results_folder(request.config)

        def run(*model_and_inputs: Any, **settings: Any) -> Mapping[str, Any]:
            from bench.errors import BenchError
            from bench.interchange.timings import timing_of
            from techniques.registry import TechniqueError

            settings.setdefault("max_launches", 10 if benchmark.enabled else 1)
            try:
                cell = _measured(results, model_and_inputs, settings)
            except (BenchError, TechniqueError) as error:
                _fail(f"bench_cell: {error}")
            timing = timing_of(cell.view, cell.cell)
            if timing is None:
                _fail(f"bench_cell: {cell.cell.name} has no timing")
            clock.load(timing.medians_s)
            benchmark.extra_info.update(timing.extra)
            benchmark.pedantic(clock.next_launch, setup=clock.rewind, rounds=len(timing.medians_s))
            return dict(timing.extra)

        return run


def _measured(results: Path, model_and_inputs: tuple[Any, ...], settings: dict[str, Any]) -> MeasuredCell:
    from bench.errors import BenchError
    from bench.testing.cells import measure_model, measure_point

    if model_and_inputs:
        if len(model_and_inputs) != 2:
            raise BenchError("give a model and its inputs, or workload=... and optimizer=...")
        return measure_model(*model_and_inputs, results, **settings)
    launches, budget_s = settings.pop("max_launches"), settings.pop("budget_s", 60.0)
    if "workload" not in settings:
        raise BenchError("give a model and its inputs, or workload=... and optimizer=...")
    train: dict[str, Any] = {
        name: settings.pop(name) for name in ("workload", "optimizer") if name in settings
    }
    infer = {"compression": "none", "backend": "cpu-eager", **settings}
    return measure_point(results, train, infer, launches, budget_s)
