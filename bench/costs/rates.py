"""The overhead of a run, in seconds and bytes: servers, store, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.costs.timeline import REPORT, RUNNER, SERVERS, STOPPING, STORE
from bench.results.store import Store

CACHE = "cache"
"""The folder of compiler caches, next to the store."""


@dataclass(frozen=True)
class Rates:
    """Seconds and bytes per server, launch and so on. The defaults are rough values from two server cores."""

    runner_s: float = 1.0
    server_s: float = 8.0
    stop_s: float = 0.1
    launch_s: float = 0.02
    report_s: float = 4.0
    launch_bytes: float = 8_000.0
    report_bytes: float = 1_000_000.0
    lower_bytes: float = 0.0

    def slowed(self, ratio: float) -> Rates:
        """Return the rates of a machine that takes `ratio` times as long."""
        seconds = {name: value * ratio for name, value in asdict(self).items() if name.endswith("_s")}
        return replace(self, **seconds)

    def overheads(self, servers: int, launches: float) -> dict[str, float]:
        """Return the seconds outside launches, by the part that the runner's own clock enters them under."""
        return {
            RUNNER: self.runner_s,
            SERVERS: servers * self.server_s,
            STOPPING: servers * self.stop_s,
            STORE: launches * self.launch_s,
            REPORT: self.report_s,
        }

    def disk(self, launches: float, lowered: int) -> dict[str, int]:
        """Return the bytes that a run adds in addition to its artifacts."""
        return {
            "store": round(launches * self.launch_bytes),
            "report": round(self.report_bytes),
            "compile cache": round(lowered * self.lower_bytes),
        }


def measure_rates(store: Store, results: Path) -> Rates | None:
    """Return the rates of the latest finished run in a results folder, or None where there is none."""
    history = store.cost_history()
    run = history.run
    if run is None:
        return None
    lowered = sum(cost.kind == "lower" for cost in history.launches)
    servers = run.rounds + 1  # one for what is not timed

    def part(name: str) -> float:
        return run.overheads.get(name, 0.0)

    return Rates(
        runner_s=part(RUNNER),
        server_s=part(SERVERS) / servers,
        stop_s=part(STOPPING) / servers,
        launch_s=part(STORE) / run.launches,
        report_s=part(REPORT),
        launch_bytes=store.disk_bytes() / max(1, history.launches_in_store),
        report_bytes=disk_bytes(results / run.run_id),
        lower_bytes=disk_bytes(results / CACHE) / lowered if lowered else 0.0,
    )


def disk_bytes(path: Path) -> int:
    """Return the bytes of a file or of a folder's files, 0 if it does not exist."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def spent_bytes(store: Store, results: Path) -> Mapping[str, int]:
    """Return the present size of store and compile cache, to compute their growth later."""
    return {"store": store.disk_bytes(), "compile cache": disk_bytes(results / CACHE)}
