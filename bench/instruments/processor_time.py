"""CPU time of each thread of this process, and of all processes together, as Linux counts it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bench.instruments.kernel_files import read_text

CPU_TIMES = Path("/proc/stat")
THREADS = Path("/proc/self/task")

_BUSY = (0, 1, 2, 5, 6)  # user, nice, system, interrupts, soft interrupts; a guest's time is in user


def stolen_s() -> float | None:
    """Return the seconds, over all CPUs, that a hypervisor has given to others since boot; None if unknown.

    The 8th number of the first line of /proc/stat (proc(5)).
    """
    numbers = _times().get("cpu", ())
    return numbers[7] if len(numbers) > 7 else None


def busy_s() -> float | None:
    """Return the seconds that the CPUs of this process worked, for whomever, since boot; None if unknown.

    Linux may count whole ticks, for whoever runs at each: of a second's work 2 or 3 % may be missing or over.
    """
    times = _times()
    own = [times.get(f"cpu{number}", ()) for number in os.sched_getaffinity(0)]
    return None if any(len(each) < 8 for each in own) else sum(each[place] for each in own for place in _BUSY)


def thread_seconds() -> Mapping[str, float]:
    """Return the seconds that each thread of this process has had a CPU, by its number; none if unknown.

    The first number, of nanoseconds, of each thread's `schedstat`.
    """
    found = {entry.name: read_text(entry / "schedstat") for entry in THREADS.glob("[0-9]*")}
    return {name: int(text.split()[0]) / 1e9 for name, text in found.items() if text}


def _times() -> Mapping[str, tuple[float, ...]]:
    ticks = os.sysconf("SC_CLK_TCK")
    lines = (line.split() for line in (read_text(CPU_TIMES) or "").splitlines() if line.startswith("cpu"))
    return {name: tuple(int(number) / ticks for number in numbers) for name, *numbers in lines}
