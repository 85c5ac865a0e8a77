"""A process that waits for something hears its signals too."""

from __future__ import annotations

import os
import signal


def readable_on_signals() -> int:
    """Return a file descriptor that turns readable once a signal with a Python handler comes.

    Python runs a handler between two of its own instructions, or when the signal interrupts a call. A
    signal that comes after the last instruction and before the call has begun to wait does neither, so a
    call that waits for ever must wait for this descriptor too (`signal.set_wakeup_fd`).
    """
    awake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    return awake
