"""The stack on which a thread hears its signals, kept where a library puts another in its place."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class SignalStack(ctypes.Structure):
    """C's `stack_t`: an address, SS_DISABLE (2) or 0, and a size in bytes; see sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size_bytes", ctypes.c_size_t))


def signal_stack() -> SignalStack:
    """Return this thread's stack for signals."""
    found = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found


@contextmanager
def keeping_signal_stack() -> Iterator[None]:
    """Put this thread's stack for signals back after the block, as it was before.

    OpenVINO's plug-in for CPUs with AMX sets one for as long as it is loaded, and gives back the one before.
    Of two that end in the order in which they began, the second gives back the first one's, which is gone by
    then, and the next signal with a handler of Python's ends the process by SIGSEGV.
    """
    if sys.platform != "linux":
        yield
        return
    before = signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
