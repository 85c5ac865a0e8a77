"""What TorchScript's threads were given has ended when the wait for them ends."""

import threading
import time

import pytest
import torch

from bench.instruments import script_threads
from bench.instruments.events import profiling

_may_end = threading.Event()
_ended = threading.Event()
_release = threading.Event()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for as long as a busy machine takes; and start anew."""
    monkeypatch.setattr(script_threads, "_LONGEST_S", 60.0)
    for event in (_may_end, _ended, _release):
        event.clear()


@torch.jit.ignore
def _works_on(number: int) -> int:
    _may_end.wait(60)
    time.sleep(0.2)
    _ended.set()
    return number


@torch.jit.ignore
def _held_back(number: int) -> int:
    _release.wait(60)
    return number


def _work(number: int) -> int:
    return _works_on(number)


def _hold(number: int) -> int:
    return _held_back(number)


def _start_work(number: int) -> torch.jit.Future[int]:
    return torch.jit.fork(_work, number)


def _start_holding(number: int) -> torch.jit.Future[int]:
    return torch.jit.fork(_hold, number)


def test_a_fork_that_nobody_waited_for_has_ended() -> None:
    future = torch.jit.script(_start_work)(1)
    _may_end.set()
    script_threads.wait_until_done()
    assert _ended.is_set() and future.wait() == 1


def test_a_recording_ends_after_the_scripts_that_it_saw() -> None:
    start = torch.jit.script(_start_work)
    with profiling() as events:
        future = start(1)
        assert not _ended.is_set()
        _may_end.set()
    assert _ended.is_set() and future.wait() == 1 and isinstance(events, list)


@pytest.mark.skipif(torch.get_num_interop_threads() < 2, reason="nothing starts while its one thread is busy")
def test_a_thread_that_somebody_keeps_busy_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_threads, "_LONGEST_S", 0.1)
    future = torch.jit.script(_start_holding)(1)
    script_threads.wait_until_done()
    assert not future.done()
    _release.set()
    assert future.wait() == 1
