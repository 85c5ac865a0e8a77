"""pytest-benchmark's JSON, as `--benchmark-json` and `--benchmark-save` write it, in both directions.

A timing of ours is a benchmark whose rounds are launches: `data` has the median of each. In a file of
pytest-benchmark itself all rounds are of one process, so they are samples of one launch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from bench.analysis.comparable import cpu_model
from bench.digests import DISTRIBUTION, version_of
from bench.errors import BenchError
from bench.interchange.exported import Exported
from bench.interchange.imported import (
    Benchmark,
    ImportedRun,
    Seconds,
    checked,
    known_metrics,
    launch,
    one_process,
)
from bench.interchange.rounds import statistics_of
from bench.interchange.timings import SUITE, LeftOut, Timing, timings
from bench.records import Measurement, Result
from bench.results.store import Store
from reports.frames.view import RunView
from reports.frames.view import read as read_view

NAME = "pytest-benchmark"


def render(store: Store, run_id: str) -> Exported:
    """Return a run's timings as a file; raises BenchError where it has none, and of a smoke run."""
    view = read_view(store, run_id)
    if view.smoke:
        raise BenchError(f"run {run_id} is a smoke run: its numbers mean nothing")
    entries = list(timings(view))
    found = [entry for entry in entries if isinstance(entry, Timing)]
    if not found:
        raise BenchError(f"run {run_id} has no timing to export; `bench report {run_id}` says why")
    document = {
        "machine_info": _machine_info(view),
        "commit_info": _commit_info(view),
        "benchmarks": [_benchmark(view, timing) for timing in found],
        "datetime": datetime.fromtimestamp(view.run["started_s"], UTC).isoformat(),
        "version": f"{DISTRIBUTION} {version_of(DISTRIBUTION)}",
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    left_out = (f"{entry.name}: {entry.reason}" for entry in entries if isinstance(entry, LeftOut))
    return Exported((("benchmarks.json", text.encode()),), tuple(left_out))


def _benchmark(view: RunView, timing: Timing) -> dict[str, Any]:
    return {
        "group": timing.kind,
        "name": timing.name,
        "fullname": f"{view.run['matrix']}::{timing.kind}::{timing.name}",
        "params": None,
        "param": None,
        "extra_info": dict(timing.extra),
        "options": {},
        "stats": statistics_of(timing.medians_s),
    }


def _machine_info(view: RunView) -> dict[str, Any]:
    environment = view.environment
    cpu = environment.get("cpu")
    return {
        "node": "",
        "machine": str(cpu.get("arch", "")) if isinstance(cpu, Mapping) else "",
        "processor": cpu_model(environment),
        "system": str(environment.get("os") or "").partition(" ")[0],
        "python_version": str(environment.get("python") or ""),
        "cpu": {"brand_raw": cpu_model(environment), "count": environment.get("affinity_cores")},
    }


def _commit_info(view: RunView) -> dict[str, Any]:
    git = view.environment.get("git") or {}
    return {
        "id": str(git.get("revision") or "unversioned"),
        **{"time": None, "author_time": None},
        "dirty": bool(git.get("changed")),
        **{"project": DISTRIBUTION, "branch": "(unknown)"},
    }


class _Stats(BaseModel):
    median: Seconds
    min: Seconds
    rounds: Annotated[int, Field(ge=1, le=2**53)]
    data: Annotated[list[Seconds], Field(min_length=1)] | None = None


class _Benchmark(BaseModel):
    name: str
    fullname: str = ""
    stats: _Stats
    extra_info: dict[str, Any] = {}

    @property
    def rounds_are_launches(self) -> bool:
        own = self.extra_info.get(SUITE)
        return isinstance(own, Mapping) and own.get("rounds") == "launches"


class _File(BaseModel):
    benchmarks: Annotated[list[_Benchmark], Field(min_length=1)]
    machine_info: dict[str, Any] = {}
    commit_info: dict[str, Any] = {}
    moment: Annotated[datetime | None, Field(alias="datetime")] = None


def fits(content: Any) -> bool:
    """Say whether the content of a JSON file looks like pytest-benchmark's."""
    return isinstance(content, dict) and isinstance(content.get("benchmarks"), list)


def read(content: Any, path: Path) -> ImportedRun:
    """Return the benchmarks of a file; raises BenchError where it is not pytest-benchmark's."""
    file = checked(_File, content, NAME)
    started_s = _seconds(file.moment)
    without = sum(benchmark.stats.data is None for benchmark in file.benchmarks)
    lacking = (
        f"{without} of {len(file.benchmarks)} benchmarks have no rounds in the file, only their statistics"
    )
    return ImportedRun(
        tuple(
            Benchmark(entry.fullname or entry.name, tuple(_launches(entry, started_s)))
            for entry in file.benchmarks
        ),
        cpu=_cpu(file.machine_info),
        environment=_environment(file),
        started_s=started_s,
        notes=(f"{lacking}; --benchmark-save-data keeps them",) if without else (),
    )


def _seconds(moment: datetime | None) -> float | None:
    if moment is None or moment.year < 1970:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _launches(benchmark: _Benchmark, started_s: float | None) -> list[Result]:
    stats = benchmark.stats
    extra = known_metrics(benchmark.extra_info, "from the file's extra_info")
    if stats.data is None:
        median = Measurement(
            "imported_s", stats.median, n=stats.rounds, method="median of rounds, by pytest-benchmark"
        )
        return [
            launch([median, Measurement("fastest_s", stats.min), *_without(extra, "fastest_s")], started_s)
        ]
    if benchmark.rounds_are_launches:
        method = "median of a launch"
        medians = [[Measurement("imported_s", median, method=method)] for median in stats.data]
        return [launch([*own, *([] if number else extra)], started_s) for number, own in enumerate(medians)]
    rounds = one_process(stats.data, "median of rounds, by pytest-benchmark")
    return [launch([*rounds, *_without(extra, "fastest_s")], started_s)]


def _without(measurements: list[Measurement], *names: str) -> list[Measurement]:
    return [entry for entry in measurements if entry.metric not in (*names, "imported_s")]


def _cpu(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the processor stays the same from run to run: not its momentary clock."""
    cpu = machine.get("cpu")
    cpu = cpu if isinstance(cpu, Mapping) else {}
    model = cpu.get("brand_raw") or cpu.get("brand") or machine.get("processor")
    if not model:
        return {}
    return {"model": str(model)} | {
        own: str(cpu[name]) for name, own in (("arch", "arch"), ("count", "cores")) if cpu.get(name)
    }


def _environment(file: _File) -> dict[str, Any]:
    machine, commit = file.machine_info, file.commit_info
    python = machine.get("python_version") or machine.get("python_implementation_version")
    revision = commit.get("id")
    return {
        **({"python": str(python)} if python else {}),
        **(
            {"os": f"{machine['system']} {machine.get('release', '')}".strip()}
            if machine.get("system")
            else {}
        ),
        **({"git": {"revision": str(revision), "changed": bool(commit.get("dirty"))}} if revision else {}),
    }
