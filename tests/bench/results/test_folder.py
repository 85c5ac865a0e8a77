"""One run at a time works in a results folder, however the one before ended."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from bench.errors import BenchError
from bench.results.folder import alone_in

HOLD = """
import sys, time
from pathlib import Path
from bench.results.folder import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_is_refused_with_one_line_while_the_first_is_at_work(tmp_path):
    for _ in range(2):  # and again after it has ended
        with alone_in(tmp_path):
            refused = pytest.raises(BenchError, match="another run is using this folder")
            with refused, alone_in(tmp_path):
                pass


def test_the_lock_of_a_killed_process_is_gone(tmp_path):
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(BenchError, match="another run"), alone_in(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with alone_in(tmp_path):
        pass


def test_a_lock_is_released_although_a_program_that_it_started_still_runs(tmp_path):
    with alone_in(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with alone_in(tmp_path):
            pass
    finally:
        child.communicate()
