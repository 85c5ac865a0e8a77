"""A rank that is killed or hangs is a record in bounded time, and no process of its stage stays behind."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench.execution.executor import ForkServerExecutor
from bench.execution.ranks import run_in_ranks
from tests.support.several_devices import several

pytestmark = pytest.mark.slow


def test_a_killed_rank_ends_the_stage_in_seconds_and_is_on_record(tmp_path: Path) -> None:
    began = time.monotonic()
    result = run_in_ranks(several(tmp_path, "losing", timeout_s=300.0), 2, tmp_path)
    assert time.monotonic() - began < 120
    assert (result.state, result.reason) == (
        "killed",
        "rank 1 of 2 was killed by SIGKILL; its training of up to 12 steps is lost",
    )
    assert psutil.Process().children(recursive=True) == []


def test_a_rank_that_hangs_is_ended_with_its_stage_and_no_process_stays_behind(tmp_path: Path) -> None:
    request = replace(several(tmp_path, "hanging"), cpus=tuple(os.sched_getaffinity(0)), timeout_s=15.0)
    executor = ForkServerExecutor(tmp_path / "work", tmp_path, ())
    try:
        executor.wait_until_ready()
        result = executor.submit(request).result(timeout=120)
        assert (result.state, result.reason) == ("timeout", "exceeded its timeout of 15 s")
        pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
        deadline = time.monotonic() + 30
        while any(map(runs, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(pids) == 2 and not any(map(runs, pids))
    finally:
        executor.close()


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
