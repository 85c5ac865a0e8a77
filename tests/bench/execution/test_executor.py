"""Requests are answered however their worker or its fork server ends, and then nothing of it runs on."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bench.execution import executor as executor_module
from bench.execution.executor import ForkServerExecutor
from bench.execution.forkserver import running_in_session
from bench.execution.run_log import RUN_LOG, logged_to
from bench.records import Request

# A worker imports these before its stage begins; none has a stage to run, so that none needs PyTorch.
MODULES = {
    "torch": "def set_num_threads(threads): ...",
    "sleeps": "import time\ntime.sleep(600)",
    # As a data loader or a compiler does: what a worker starts has what it had open.
    "forks": "import os, time\nos.fork()\nos.setpgid(0, 0)\ntime.sleep(600)",
    "ends_by_a_signal_without_a_name": "import os, signal\nos.kill(os.getpid(), signal.SIGRTMIN + 3)",
    "cannot_be_imported": "raise RuntimeError('a broken library')",
}


@pytest.fixture
def start(tmp_path, monkeypatch) -> Iterator[Callable[..., ForkServerExecutor]]:
    """Start a server whose workers can import MODULES; it is closed at the end."""
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    started: list[ForkServerExecutor] = []

    def call(*modules: str) -> ForkServerExecutor:
        started.append(ForkServerExecutor(tmp_path / "work", tmp_path, modules))
        return started[-1]

    yield call
    for executor in started:
        executor.close()
        assert running_in_session(pid_of(executor)) == []


def pid_of(executor: ForkServerExecutor) -> int:
    return executor._process.pid


def request(folder: Path, module: str, timeout_s: float = 300.0) -> Request:
    return Request(
        **{"kind": "evaluate", "key": "0" * 64, "label": "", "settings": {}, "parents": {}, "plugins": {}},
        **{"imports": (module,), "results": str(folder), "run_id": "", "round": 0, "device": "cpu"},
        **{"threads": 1, "cpus": tuple(os.sched_getaffinity(0)), "memory_bytes": 2**36},
        timeout_s=timeout_s,
    )


def wait_for_processes(executor: ForkServerExecutor, number: int) -> None:
    deadline = time.monotonic() + 120
    while len(running_in_session(pid_of(executor))) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_server_is_told_though_a_worker_has_children_and_none_lives_on(start, tmp_path, number):
    executor = start()
    executor.wait_until_ready()
    futures = [executor.submit(request(tmp_path, "forks")), executor.submit(request(tmp_path, "sleeps"))]
    wait_for_processes(executor, 1 + 2 + 1)
    os.kill(pid_of(executor), number)
    for future in futures:
        result = future.result(timeout=300)
        assert (result.state, result.reason) == ("killed", f"its fork server was killed by {number.name}")
        assert running_in_session(pid_of(executor)) == []
    assert not executor.alive
    # At once, also for what nobody took.
    assert executor.submit(request(tmp_path, "sleeps")).result(timeout=300).state == "killed"
    assert not list((tmp_path / "work").iterdir())


def test_a_server_that_is_stopped_is_ended_after_the_stages_time(start, tmp_path, monkeypatch):
    monkeypatch.setattr(executor_module, "GRACE_S", 0.0)
    executor = start()
    executor.wait_until_ready()
    os.kill(pid_of(executor), signal.SIGSTOP)
    result = executor.submit(request(tmp_path, "sleeps", timeout_s=1.0)).result(timeout=300)
    assert (result.state, result.reason) == ("killed", "its fork server did not answer in time")


def test_workers_are_answered_for_one_by_one(start, tmp_path):
    executor = start("cannot_be_imported")  # which is the worker's to say
    executor.wait_until_ready()
    stopped = executor.submit(request(tmp_path, "sleeps", timeout_s=3.0))
    wait_for_processes(executor, 1 + 1)
    psutil.Process(pid_of(executor)).children()[0].suspend()
    killed = executor.submit(request(tmp_path, "ends_by_a_signal_without_a_name"))
    broken = executor.submit(request(tmp_path, "cannot_be_imported"))
    assert killed.result(timeout=300).reason == f"ended by signal {signal.SIGRTMIN + 3}"
    assert broken.result(timeout=300).reason == "RuntimeError: a broken library"
    assert stopped.result(timeout=300).state == "timeout"
    assert executor.alive


def test_the_log_says_who_was_asked_what_and_how_it_ended(start, tmp_path):
    with logged_to(tmp_path, "run-1"):
        executor = start()
        executor.wait_until_ready()
        executor.submit(request(tmp_path, "cannot_be_imported")).result(timeout=300)
        executor.close()
    log = (tmp_path / "run-1" / RUN_LOG).read_text()
    assert f"fork server {pid_of(executor)} starts" in log and f"fork server {pid_of(executor)} ended" in log
    assert re.search(
        r"worker (\d+): evaluate .* timeout 300 s\n(.*\n)*.*WARNING .*worker \1 \(pid \d+\): failed", log
    )
    assert "RuntimeError: a broken library" in log


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_server_that_ends_or_hangs_before_it_is_ready_keeps_nobody_waiting(start, number, monkeypatch):
    monkeypatch.setattr(executor_module, "START_TIMEOUT_S", 1.0)
    executor = start()
    os.kill(pid_of(executor), number)
    executor.wait_until_ready()
    assert not executor.alive
    told = {signal.SIGKILL: "was killed by SIGKILL", signal.SIGSTOP: "did not answer in time"}
    assert executor.end == told[number]


def test_a_server_that_cannot_work_says_why_in_its_last_line(start, tmp_path):
    (tmp_path / "psutil.py").write_text("raise ImportError('libc.so: cannot open shared object file')")
    executor = start()
    executor.wait_until_ready()
    assert executor.end.startswith("ended with exit code 1: ImportError: libc.so: cannot open")


def test_no_worker_gets_the_address_of_a_shared_store(start, monkeypatch):
    monkeypatch.setenv("BENCH_STORE", "postgresql://me:s3cret@host/db")
    environment = psutil.Process(pid_of(start("sleeps"))).environ()
    assert "PYTHONPATH" in environment and "BENCH_STORE" not in environment
