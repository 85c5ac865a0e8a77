"""Results that cannot be written are refused with one line before anything is done, and can still be read."""

from __future__ import annotations

import pytest

from bench.records import PlannedRequest
from bench.results.store import CellRow, StageRow, Store

STAGE = StageRow("a" * 64, "infer", "net @ cpu", True, (), PlannedRequest())
AXES = {
    **{"workload": "net", "optimizer": "adam", "train.backend": "cpu-eager", "train.precision": "fp32"},
    **{"train.batch_size": 8, "seed": 0},
    **{"compression": "none", "backend": "cpu-eager", "precision": "fp32", "batch_size": 1},
}
CELL = CellRow("net/adam/none@cpu", AXES, {"infer": STAGE.key})


@pytest.fixture
def results(tmp_path, read_only):
    folder = tmp_path / "results"
    store = Store.open(folder)
    store.start_run("run-1", "identity", "ci", "bench run", {"plugins": {}, "smoke": False}, [STAGE], [CELL])
    store.close()
    read_only(folder)
    return folder


@pytest.mark.parametrize("command", [("run", "--matrix", "ci"), ("clean", "--yes"), ("report",)])
def test_a_command_that_would_write_gets_one_line(bench, results, command):
    before = (results / "bench.sqlite").read_bytes()
    done = bench(*command, "--results", results)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Read-only file system; choose a writable" in done.stderr
    assert (results / "bench.sqlite").read_bytes() == before


def test_what_is_there_can_be_read(bench, results):
    done = bench("show", CELL.name, "--results", results)
    assert done.returncode == 0, done.stderr
    assert STAGE.key in done.stdout
