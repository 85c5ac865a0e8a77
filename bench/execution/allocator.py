"""How workers get memory: by default they keep what they free, as a serving process that has been tuned does.

glibc gives large freed blocks back to the kernel and asks for them again at the next call, more or less by
how a process's heap happens to lie: a small CNN's training step had none to 4,000 page faults. That takes
longer and differs from launch to launch; `bench doctor` measures it, and records have their page faults.
PyTorch's tuning guide advises another allocator for the same reason ("Performance Tuning Guide").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.matrix.file import Allocator

# mallopt(3): no block comes from mmap, the heap's end is not given back, and it grows by 64 MiB.
KEEP: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}


def allocator_environment(allocator: Allocator) -> dict[str, str]:
    """Return what a worker's environment must have before it starts.

    Empty where the user has set any of it, or has preloaded an allocator: then that is what is measured.
    """
    chosen_by_user = "LD_PRELOAD" in os.environ or any(name in os.environ for name in KEEP)
    return {} if allocator == "system" or chosen_by_user else dict(KEEP)
