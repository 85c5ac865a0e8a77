"""What the stages of a run may use of this machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from bench.instruments.control_group import memory_limit_bytes
from bench.instruments.kernel_files import read_text

GIB = 2**30
MEMORY_SHARE = 0.8
"""Share of the free memory that workers may allocate, so that the machine outlives them."""


@dataclass(frozen=True)
class Resources:
    """The cores that stages are pinned to, and how much memory a worker with all of them may allocate."""

    cpus: tuple[int, ...]
    memory_bytes: int


def find_resources(memory_gib: float | None = None) -> Resources:
    """Return what this process was given of the machine; `memory_gib` bounds the memory further."""
    import psutil

    free = psutil.virtual_memory().available
    memory_bytes = int(min(free, memory_limit_bytes() or free) * MEMORY_SHARE)
    if memory_gib:
        memory_bytes = min(memory_bytes, int(memory_gib * GIB))
    return Resources(tuple(sorted(os.sched_getaffinity(0))), memory_bytes)


def machine_id() -> str:
    """Return what all containers of one machine share until it starts again, and no other machine has."""
    return read_text("/proc/sys/kernel/random/boot_id") or platform.node()


def physical_core(cpu: int) -> str:
    """Return the logical cores that one physical core has with this one; this one alone where unknown."""
    return read_text(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu)
