"""How much of a step of training goes into telling other devices: the time of collectives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_COLLECTIVES = ("gloo:", "ncclDevKernel", "ncclKernel")
"""How PyTorch's profiler names a collective: gloo's from call to end, NCCL's kernels on the device."""


@dataclass(frozen=True)
class Communication:
    """Seconds of calls, those of them with a collective under way, and collectives of a call."""

    elapsed_s: float
    communicating_s: float
    collectives: float

    @property
    def share(self) -> float:
        """Return the share of the time in which a collective was under way."""
        return min(1.0, self.communicating_s / self.elapsed_s)


def measure_communication(
    call: Callable[[], object], calls: int, synchronize: Callable[[], None]
) -> Communication:
    """Measure so many calls under PyTorch's profiler.

    A collective is under way from its start until this process has its result, computation beside it and
    waiting for a slower rank included; collectives that overlap count once.
    """
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        started = time.perf_counter()
        for _ in range(calls):
            call()
            synchronize()
        elapsed_s = time.perf_counter() - started
    spans = list(_spans(profiler.events() or ()))
    return Communication(elapsed_s, 1e-6 * united(spans), len(spans) / calls)


def _spans(events: Iterable[Any]) -> Iterable[tuple[float, float]]:
    for event in events:
        if event.name.startswith(_COLLECTIVES):
            yield event.time_range.start, event.time_range.end


def united(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of what spans of time cover, each moment once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
