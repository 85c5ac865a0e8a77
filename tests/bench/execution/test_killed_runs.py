"""A run whose processes are killed loses nothing that was finished: the same command goes on from there."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter

import pytest

from tests.kills.harness import KilledRun, faults
from tests.kills.processes import COMMAND, MATRIX, all_gone, launches, start


@pytest.mark.timeout(900)
def test_a_run_killed_at_random_goes_on_without_losing_or_repeating_anything(tmp_path):
    # `python -m tests.kills` kills many more, in several rounds, and compares what they find.
    run = KilledRun(tmp_path, random.Random(20), "--smoke")
    run.carry_out(Counter(runner=1, server=1, worker=1))
    assert run.kills, "the run ended before it could be killed"
    assert list(faults(tmp_path, run.kills, expected=None, launches_of_timed=1)) == []


@pytest.mark.timeout(900)
def test_an_interrupted_run_says_how_to_go_on_and_leaves_nobody_running(tmp_path):
    # A shell that starts the tests in the background makes them, and all they start, ignore the signal.
    def heed() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = [*COMMAND, str(tmp_path), "--smoke"]
    runner = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed)
    while launches(tmp_path) < 1:
        time.sleep(0.05)
    runner.send_signal(signal.SIGINT)
    _, errors = runner.communicate(timeout=120)
    assert runner.returncode == 130, errors
    assert errors.splitlines()[-1] == "bench: interrupted; run the same command to resume"
    assert all_gone(tmp_path)


def test_two_runs_in_one_folder_are_refused(bench, tmp_path):
    runner = start(tmp_path, "--smoke")
    try:
        while launches(tmp_path) < 1:
            time.sleep(0.05)
        second = bench("run", "--matrix", MATRIX, "--results", tmp_path)
        assert second.returncode == 2
        assert "another run is using this folder" in second.stderr
    finally:
        runner.kill()
        runner.wait()
        assert all_gone(tmp_path)
