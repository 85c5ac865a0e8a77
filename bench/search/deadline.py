"""Ends what runs in this process at a moment, as Ctrl-C would: a run that it ends can be resumed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNAL = signal.SIGUSR1


class BudgetSpent(KeyboardInterrupt):
    """The time is up."""


@contextmanager
def ending_after(seconds: float) -> Iterator[None]:
    """Raise BudgetSpent inside the block once so many seconds have passed; in the main thread alone."""
    armed = True

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False  # once: what ends then must not be ended again
            raise BudgetSpent

    if seconds <= 0:
        raise BudgetSpent
    before = signal.signal(_SIGNAL, end)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), _SIGNAL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        armed = False
        timer.cancel()
        timer.join()  # a signal that it has sent is taken by `end`, not by the handler before
        signal.signal(_SIGNAL, before)
