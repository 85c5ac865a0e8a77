"""A signal that comes just before a call begins to wait ends the wait."""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Iterator
from functools import partial
from operator import call

import pytest

from bench.execution.signals import readable_on_signals


@pytest.fixture
def descriptor() -> Iterator[int]:
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    before = signal.set_wakeup_fd(-1)
    awake = readable_on_signals()
    yield awake
    for end in (awake, signal.set_wakeup_fd(before)):
        os.close(end)
    signal.signal(signal.SIGUSR1, handler)


def test_a_signal_after_the_last_instruction_and_before_the_wait_is_heard(descriptor: int) -> None:
    come = partial(getattr(ctypes.PyDLL(None), "raise"), int(signal.SIGUSR1))
    # `map` calls both with none of Python's instructions between, where a handler would run.
    _, (readable, _, _) = list(map(call, [come, partial(select.select, [descriptor], [], [], 30)]))
    assert readable == [descriptor]


def test_nothing_is_readable_before_a_signal_comes(descriptor: int) -> None:
    assert select.select([descriptor], [], [], 0)[0] == []
    os.kill(os.getpid(), signal.SIGUSR1)
    assert select.select([descriptor], [], [], 30)[0] == [descriptor]
