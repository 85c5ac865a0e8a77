"""The pytest plug-in in real runs of pytest, found by its entry point as where the suite is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bench.interchange.imports import enter_file
from bench.results.store import Store
from tests.support.pages import PAGES_FOLDER, blocks

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 500

MODEL = """
import pytest
import torch


def classifier():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(4))
    return model, torch.eye(4).repeat(4, 1)

"""

LIMITS = """
TARGETS = torch.tensor([0, 1, 2, 0]).repeat(4)


@pytest.mark.bench(min_accuracy=0.7, max_parameters=16, max_flops=32, max_latency_ms=60_000, max_launches=1)
def test_kept_or_untold():
    return *classifier(), TARGETS


@pytest.mark.bench(
    min_accuracy=0.8, max_parameters=15, max_flops=32, max_latency_ms=60_000, max_launches=1, strict=True
)
def test_broken_and_strict():
    return *classifier(), TARGETS
"""

INTERVALS = """
@pytest.mark.bench(max_latency_ms=60_000, max_launches=3)
def test_latency():
    return classifier()
"""

MISTAKES = """
@pytest.mark.bench(max_latncy_ms=5)
def test_unknown_limit():
    raise AssertionError("nothing is measured")


@pytest.mark.bench(max_latency_ms=5)
def test_returns_nothing():
    pass


@pytest.mark.bench(min_accuracy=0.5)
def test_without_targets():
    return classifier()


@pytest.mark.bench(min_accuracy=0.5)
def test_too_few_targets():
    return *classifier(), torch.zeros(3)


@pytest.mark.bench(max_latency_ms=5)
def test_raises():
    raise RuntimeError("of its own")


@pytest.mark.bench(max_latency_ms=5, backend="no-such-backend")
def test_unknown_backend():
    return classifier()


@pytest.mark.bench
def test_bare_mark():
    assert True


def test_plain(request):
    assert request.config.pluginmanager.hasplugin("bench")
"""

CELLS = """
def test_model(bench_cell):
    found = bench_cell(*classifier(), max_launches=1)
    assert found["bench"]["launches"] >= 1 and found["dense_flops"] == 32


def test_neither(bench_cell):
    bench_cell(batch_size=8)
"""

POINT = """
import pytest


@pytest.mark.benchmark(group="mine")
def test_point(bench_cell):
    found = bench_cell(workload="breast-cancer-mlp", optimizer="sgd", batch_size=8, max_launches=3)
    assert 0 < found["auc"] <= 1
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all runs measure in: what one has found out about the machine, others use."""
    return tmp_path_factory.mktemp("measured")


@pytest.fixture
def installed(
    tmp_path: Path, measured: Path, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> pytest.Pytester:
    """Return a pytester whose runs find the suite and its entry points, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["pytest11"]
    metadata = tmp_path / "site" / "dl_efficiency_bench_of_tests-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: dl-efficiency-bench-of-tests\nVersion: 0\n"
    )
    lines = [f"{name} = {target}" for name, target in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{metadata.parent}")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)  # pytest-benchmark measures nothing in such a process
    pytester.makeini(f"[pytest]\naddopts = --strict-markers -p no:randomly\nbench_results = {measured}\n")
    return pytester


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*arguments, timeout=TIMEOUT_S)


@pytest.mark.slow
def test_limits_are_kept_broken_or_untold(installed: pytest.Pytester) -> None:
    installed.makepyfile(MODEL + LIMITS)
    done = run(installed, "-v", "--junitxml=out.xml")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "broken: min_accuracy=0.8: 75.00 %, limit >= 0.8",
            "broken: max_parameters=15: 16, limit <= 15",
            "can't tell: max_latency_ms=60000: unknown, so <= 60000 ms cannot be judged: *launch*",
            "*test_kept_or_untold: kept: min_accuracy=0.7: 75.00 %, limit >= 0.7",
            "*test_kept_or_untold: kept: max_flops=32: 32*, limit <= 32*",
            "*test_kept_or_untold: can't tell: max_latency_ms=60000: unknown*launch*",
        ]
    )
    assert "kept: max_parameters=16" in (installed.path / "out.xml").read_text()


@pytest.mark.slow
def test_the_interval_over_launches_is_in_the_line(installed: pytest.Pytester) -> None:
    installed.makepyfile(MODEL + INTERVALS)
    done = run(installed, "-v")
    done.assert_outcomes(passed=1)
    # Disturbed launches tell nothing.
    line = (
        r"test_latency: (kept: max_latency_ms=60000: .* to .*|can't tell: max_latency_ms=60000: .*launch.*)"
    )
    done.stdout.re_match_lines([f".*{line}.*"])


def test_mistakes_are_one_line_each_and_other_tests_run_as_before(installed: pytest.Pytester) -> None:
    installed.makepyfile(MODEL + MISTAKES)
    done = run(installed)
    done.assert_outcomes(passed=2, failed=6)
    done.stdout.fnmatch_lines(
        [
            "bench: max_latncy_ms: unknown metric 'latncy_ms'; did you mean 'latency_s'?",
            "bench: the test must return (nn.Module, inputs) or (nn.Module, inputs, targets), got (NoneType)",
            "bench: min_accuracy needs targets: return (nn.Module, inputs, targets)",
            "targets must be one for each of the 16 inputs, got 3",
            "E   *RuntimeError: of its own",
            "*no-such-backend*",
        ]
    )
    assert "nothing is measured" not in done.stdout.str()


@pytest.mark.slow
def test_a_cell_s_launches_are_the_rounds_of_pytest_benchmark(
    installed: pytest.Pytester, tmp_path: Path
) -> None:
    installed.makepyfile(MODEL + CELLS)
    done = run(installed, "--benchmark-json=out.json")
    done.assert_outcomes(passed=1, failed=1)
    lines = done.stdout.lines
    at = lines.index("bench_cell: give a model and its inputs, or workload=... and optimizer=...")
    assert "test_neither" in lines[at - 1]  # one line, and no trace
    check_rounds(installed.path / "out.json", tmp_path / "results")


@pytest.mark.slow
def test_a_cell_of_a_matrix_keeps_the_settings_of_its_own_mark(
    installed: pytest.Pytester, tmp_path: Path
) -> None:
    installed.makepyfile(POINT)
    run(installed, "--benchmark-json=out.json").assert_outcomes(passed=1)
    entry = check_rounds(installed.path / "out.json", tmp_path / "results")
    assert entry["group"] == "mine" and entry["stats"]["rounds"] >= 3


def check_rounds(file: Path, results: Path) -> dict[str, Any]:
    """Return the one benchmark of a file, whose rounds are launches; it is imported as such."""
    (entry,) = json.loads(file.read_text())["benchmarks"]
    extra, stats = entry["extra_info"], entry["stats"]
    assert extra["bench"]["rounds"] == "launches" and stats["rounds"] == len(stats["data"])
    assert extra["peak_tensor_bytes"] > 0 and extra["peak_rss_bytes"] > 0 and extra["dense_flops"] > 0
    assert stats["min"] > 0 and entry["options"]["timer"] == "launch_clock"
    run_id = enter_file(file, results).run_id
    assert len(Store.open(results, create=False).launch_records(run_id)) == stats["rounds"]
    found: dict[str, Any] = entry
    return found


@pytest.mark.slow
def test_where_benchmarks_are_disabled_a_cell_has_one_launch_and_no_rounds(
    installed: pytest.Pytester, measured: Path
) -> None:
    installed.makepyfile(MODEL + "def test_model(bench_cell):\n    bench_cell(*classifier())\n")
    done = run(installed, "--benchmark-disable")
    done.assert_outcomes(passed=1)
    assert "Rounds" not in done.stdout.str()
    store = Store.open(measured, create=False)
    assert store.run(store.find_run(None))["request"]["budget"]["max_launches"] == 1


def test_without_pytest_benchmark_the_fixture_says_what_to_install(installed: pytest.Pytester) -> None:
    installed.makepyfile("def test_model(bench_cell):\n    pass\n")
    done = run(installed, "-p", "no:benchmark")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        ["bench_cell requires the package pytest-benchmark: pip install pytest-benchmark"]
    )


def test_the_plug_in_imports_nothing_that_takes_time() -> None:
    heavy = ("torch", "numpy", "pandas", "pydantic", "sqlalchemy", "scipy", "typer")
    code = (
        "import sys, pytest; before = set(sys.modules); import bench.testing.plugin; "
        f"print([name for name in {heavy} if name in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_guide_s_tests_pass(installed: pytest.Pytester) -> None:
    for block in blocks((PAGES_FOLDER / "guides" / "pytest.md").read_text()):
        if block.title.endswith(".py"):
            (installed.path / block.title).write_text(block.text)
    run(installed).assert_outcomes(passed=4)
