"""Resident memory of this process: what it holds, and the most it held during a pass."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")

BATCHED_BYTES = 3 * (os.cpu_count() or 1) * max(32, 2 * (os.cpu_count() or 1)) * mmap.PAGESIZE
"""What the mark may lack at most: anonymous, file and shared pages, a batch of each CPU (percpu_counter)."""

RESET = "VmHWM, reset before"
NOT_RESET = "VmHWM of the whole process: an upper bound"
GREW = "VmHWM, grew in this pass"


def resident_bytes() -> int:
    """Return the bytes of this process that are in memory now: VmRSS on Linux, else as psutil tells."""
    resident = _status_bytes("VmRSS")
    if resident is not None:
        return resident
    import psutil

    return int(psutil.Process().memory_info().rss)


def give_back_freed() -> None:
    """Return what was freed to the system, so that the next peak has nothing of it.

    By glibc's malloc_trim(3), whatever the allocator is told to keep; elsewhere nothing happens.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class PeakResident:
    """The most bytes of this process in memory while the block ran; on Linux without sampling.

    The kernel keeps a high-water mark (VmHWM); writing 5 to /proc/self/clear_refs sets it to what is resident
    now (proc_pid_clear_refs(5)). It is exact but for `BATCHED_BYTES`: each CPU counts its pages in batches,
    and what is given back before its batch is full is missing from the mark. Where resetting is refused the
    mark covers the process's whole life: exact if it grew in the block, else an upper bound; `method` says
    which. After the block `peak_bytes` and `growth_bytes` (over `baseline_bytes`, by default what was there
    on entry) are None where unknown, and `reason` says why. `ru_maxrss` would not do: it is inherited through
    fork and exec.
    """

    def __init__(self, baseline_bytes: int | None = None) -> None:
        self.peak_bytes: int | None = None
        self.growth_bytes: int | None = None
        self.method = ""
        self.reason = ""
        self._baseline = baseline_bytes
        self._entry_peak: int | None = None
        self._is_reset = False

    def __enter__(self) -> PeakResident:
        self._is_reset = reset_high_water_mark()
        self._entry_peak = _status_bytes("VmHWM")
        if self._baseline is None:
            self._baseline = resident_bytes()
        return self

    def __exit__(self, *_: object) -> None:
        peak = _status_bytes("VmHWM")
        if peak is None or self._entry_peak is None or self._baseline is None:
            self.reason = "this system keeps no high-water mark of resident memory"
            return
        grew = peak > self._entry_peak
        self.method = RESET if self._is_reset else GREW if grew else NOT_RESET
        self.peak_bytes = peak
        self.growth_bytes = max(0, peak - self._baseline)


def reset_high_water_mark() -> bool:
    """Set the mark to what is resident now; returns False where the kernel refuses."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int | None:
    """Return a field of /proc/self/status in bytes. It is given in kB of 1024 bytes (proc_pid_status(5))."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return None
