"""How fast the machine is right now: the same small product, timed before and after each timed pass.

A neighbour on the same physical core, or a clock that has been lowered, shows in no counter of a virtual
machine; it shows here. On a 2-core virtual machine launches whose product took a third longer than the
fastest ran 1.5 times as long, at no pressure, no steal and no switches. `bench.analysis.disturbed` judges it.
"""

from __future__ import annotations

import time
from statistics import median

import torch

SIDE = 192
"""Rows of the matrices: their product takes some 0.1 ms, and they stay in a core's own cache."""

CALLS = 60

_LOOK_S = 0.02
_IDLE = 0.1
"""Share of a core that a process whose threads only wait may use, for its own looking."""
_MOST_REST_S = 1.0


def reference_s() -> float:
    """Return the median seconds of one product of two 192×192 matrices on the CPU, with PyTorch's threads.

    Waits first until the process is idle: a runtime's own threads spin for a while after a call, those of
    ONNX Runtime for up to a tenth of a second on a virtual machine.
    """
    rest()
    left = torch.ones(SIDE, SIDE)
    out = torch.empty_like(left)
    durations = []
    for _ in range(CALLS + CALLS // 4):
        began = time.perf_counter()
        torch.mm(left, left, out=out)
        durations.append(time.perf_counter() - began)
    return median(durations[-CALLS:])


def rest(most_s: float = _MOST_REST_S) -> None:
    """Wait until no thread of this process uses the CPU any more, but at most so many seconds."""
    deadline = time.perf_counter() + most_s
    while time.perf_counter() < deadline:
        used_s, began = time.process_time(), time.perf_counter()
        time.sleep(_LOOK_S)
        if time.process_time() - used_s < _IDLE * (time.perf_counter() - began):
            return
