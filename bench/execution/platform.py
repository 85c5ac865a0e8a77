"""The operating system that a run needs. Imports nothing that another system lacks."""

from __future__ import annotations

import sys

from bench.errors import BenchError

_NAMES = {"darwin": "macOS", "win32": "Windows", "cygwin": "Cygwin"}


def require_linux() -> None:
    """Raise BenchError on any system but Linux.

    Workers are pinned, limited, watched and ended by means of its kernel: affinity of processes,
    file descriptors of processes, control groups, and the counters in /proc and /sys.
    """
    if sys.platform != "linux":
        raise BenchError(
            "bench requires Linux, whose kernel it uses to pin, limit and watch processes; "
            f"this is {_NAMES.get(sys.platform, sys.platform)}"
        )
