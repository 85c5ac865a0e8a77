"""Who had the CPUs is read from the kernel's own counts."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from bench.instruments import processor_time
from bench.instruments.disturbance import Disturbance
from bench.instruments.processor_time import busy_s, stolen_s, thread_seconds

LINES = "cpu  100 200 300 400 500 600 700 800 0 0\ncpu0 10 20 30 40 50 60 70 80 0 0\n"


def test_stolen_and_busy_seconds_are_read_from_their_columns(tmp_path, monkeypatch):
    path = tmp_path / "stat"
    path.write_text(LINES)
    monkeypatch.setattr(processor_time, "CPU_TIMES", path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    monkeypatch.setattr(os, "sysconf", lambda name: 10)
    assert stolen_s() == 80.0
    assert busy_s() == 1 + 2 + 3 + 6 + 7  # neither idle nor waiting for a disk nor stolen


def test_what_the_kernel_does_not_tell_is_unknown(tmp_path, monkeypatch):
    path = tmp_path / "stat"
    path.write_text("cpu  10 20 30\n")
    monkeypatch.setattr(processor_time, "CPU_TIMES", path)
    monkeypatch.setattr(processor_time, "THREADS", tmp_path / "none")
    assert stolen_s() is None and busy_s() is None and thread_seconds() == {}


def spin(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.skipif(not thread_seconds(), reason="this kernel does not count threads' time")
def test_a_threads_seconds_are_its_own():
    before = thread_seconds()
    done, leave = threading.Event(), threading.Event()

    def work() -> None:
        spin(0.2)
        done.set()
        leave.wait()

    worker = threading.Thread(target=work)
    worker.start()
    done.wait()
    now = thread_seconds()
    leave.set()
    worker.join()
    assert now[str(worker.native_id)] - before.get(str(worker.native_id), 0.0) == pytest.approx(0.2, rel=0.2)


@pytest.mark.skipif(busy_s() is None, reason="this kernel does not count CPUs' time")
def test_another_process_at_work_is_seen_and_this_ones_own_work_is_not():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with Disturbance() as watch:
            spin(0.8)
    finally:
        busy.kill()
        busy.wait()
    assert watch.to_json()["others_cpu"] > 0.3
    assert watch.to_json()["active_threads"] >= 1
