"""A run as its user starts it, its processes by their part in it, and their end."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil

MATRIX = Path(__file__).with_name("kills.toml")
COMMAND = [sys.executable, "-m", "bench", "run", "--matrix", str(MATRIX), "--results"]


def start(results: Path, *options: str) -> subprocess.Popen[str]:
    """Start a run, or what is left of it; few lines come from it, so that nobody need read them meanwhile."""
    command = [*COMMAND, str(results), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def launches(results: Path, states: str = "%") -> int:
    """Count what is in the store, as another process sees it while the run goes on."""
    return _count(results, f"SELECT count(*) FROM launches WHERE state LIKE '{states}'")


def most_kills_of_a_stage(results: Path) -> int:
    """Return how many launches of a stage were killed: of one with the most that has not ended yet."""
    return _count(
        results,
        "SELECT max(killed) FROM (SELECT sum(launches.state = 'killed') AS killed, "
        "sum(launches.state = 'ok') AS good, max(kind IN ('step', 'infer')) AS timed FROM launches "
        "JOIN stages ON stages.key = launches.stage_key GROUP BY stage_key) WHERE timed OR good = 0",
    )


def _count(results: Path, query: str) -> int:
    try:
        with sqlite3.connect(f"file:{results}/bench.sqlite?mode=ro", uri=True, timeout=30) as connection:
            return int(connection.execute(query).fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0


def processes_of(results: Path) -> list[psutil.Process]:
    """Find every fork server and worker that works for these results."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("TORCHINDUCTOR_CACHE_DIR", "").startswith(str(results))
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def parts_of(runner: subprocess.Popen[str]) -> dict[str, list[psutil.Process]]:
    """Return a run's processes by their part: its runner, its servers, its workers."""
    parts: dict[str, list[psutil.Process]] = {"runner": [], "server": [], "worker": []}
    try:
        parts["runner"] = [psutil.Process(runner.pid)]
        parts["server"] = parts["runner"][0].children()
        parts["worker"] = [worker for server in parts["server"] for worker in server.children()]
    except psutil.Error:
        pass  # one of them ended meanwhile
    return parts


def all_gone(results: Path) -> bool:
    """Wait until no server or worker is left; says whether that came about."""
    deadline = time.monotonic() + 30
    while (left := processes_of(results)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not left
