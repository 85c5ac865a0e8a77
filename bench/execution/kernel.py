"""What a worker asks of the kernel: to end with its parent, bounds of memory, who was killed for memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_OOM_SCORE = 500


def die_with_parent(signal_number: int, parent: int) -> None:
    """Ask the kernel to send this process a signal when its parent goes (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # it went before the kernel had been asked
            os._exit(1)


def limit_memory(limit_bytes: int) -> None:
    """Bound what this process can allocate, and offer it to the kernel first should memory run out."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


def count_oom_kills() -> int:
    """Return how many processes the kernel has killed for memory since it booted, 0 where unknown."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
