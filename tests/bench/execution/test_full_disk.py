"""A full disk stops a run with one line and loses nothing: with space again, the same command goes on."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from bench.results.artifacts import read_record
from bench.results.store import Store
from bench.stages import STAGES

PART = ("run", "--matrix", "ci", "--smoke", "--filter", "optimizer=adam,backend=cpu-eager")
LARGE = 64 * 2**20


def used_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).used


def one_line(errors: str) -> str:
    """Return the line that says what is wrong: the last, and the only one that is not of progress."""
    *before, last = errors.splitlines()
    assert last.startswith("bench: "), errors
    assert not any(line.startswith(("bench: ", "Traceback", " ")) for line in before), errors
    return last


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_full_disk_at_any_moment_of_a_run_loses_nothing(bench, small_disk):
    results = small_disk(16 * 1024) / "results"
    # Room for no store; for a store but no weights; for nothing more; for some artifacts but not all.
    for room_bytes in (0, 160 * 1024, 0, 256 * 1024):
        small_disk(max(16 * 1024, used_bytes(results.parent) + room_bytes))
        done = bench(*PART, "--results", results)
        assert done.returncode == 2, done.stderr
        assert "no space left" in one_line(done.stderr).lower()
    small_disk(LARGE)
    done = bench(*PART, "--results", results)
    assert done.returncode == 0, done.stderr

    store = Store.open(results)
    run_id = store.find_run(None)
    assert len(store.runs()) == 1
    assert set(Counter(store.launch_results(run_id)).values()) == {1}
    assert {state for _, _, state in store.launch_results(run_id)} == {"ok"}
    for stage in store.stages(run_id):
        assert not STAGES.get(stage.kind).leaves_artifact or read_record(results, stage.key) is not None
    assert not list(results.rglob("*.part"))

    report = results / run_id / "report.html"
    report.unlink()
    small_disk(used_bytes(results.parent))
    done = bench("report", "--results", results)
    assert done.returncode == 2 and "no space left" in one_line(done.stderr).lower()
    assert not list(report.parent.rglob(".*")), "a torn file was left"
    # Even then there is a way to make room.
    assert bench("clean", "--keep", 0, "--yes", "--results", results).returncode == 0
    small_disk(LARGE)
    assert bench("report", "--results", results).returncode == 2  # the run went
