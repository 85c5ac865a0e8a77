"""This machine's measured peaks: FLOP/s of matrix products, bytes/s to and from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from bench.instruments import clock
from bench.instruments.processor import largest_cache_bytes
from bench.instruments.products import Maker, makers
from techniques.backends.accelerators import QUEUED_CALLS, fp32_arithmetic, synchronize
from techniques.registry import CannotApply

SIZES = (256, 512, 1024, 2048, 4096, 8192)
"""Sides of the square matrices that are multiplied: the best size is the ceiling."""

MIN_STREAM_BYTES = 256 * 2**20
"""Bytes of each array that is copied or read, or twice the largest cache of the CPU if that is more."""


@dataclass(frozen=True)
class Ceilings:
    """`operations_per_s` by number format (int8: operations), `None` where it cannot multiply there.

    `reasons` say why. `bytes_per_s` is the better of a copy, of which reads and writes count, and a read.
    """

    operations_per_s: Mapping[str, float | None]
    bytes_per_s: float | None
    reasons: Mapping[str, str]


def measure_ceilings(device: torch.device, seconds: float = 0.3) -> Ceilings:
    """Measure, for about `seconds` each, matrix products in each format, and a copy and a read beyond caches.

    What the device cannot do is None with the reason: nothing is raised for it.
    """
    found: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name, every in makers(device).items():
        found[name], reason = _best_of(every, name, device, seconds)
        if found[name] is None:
            reasons[name] = reason
    try:
        bytes_per_s = _bandwidth(device, seconds)
    except (RuntimeError, MemoryError) as error:  # two arrays that no cache holds may be more than there is
        bytes_per_s = None
        reasons["memory"] = str(error).strip().splitlines()[0]
    return Ceilings(found, bytes_per_s, reasons)


def _best_of(
    every: Iterable[Maker], name: str, device: torch.device, seconds: float
) -> tuple[float | None, str]:
    """Return the best rate of several libraries; None, and why the first has none, if none can multiply."""
    rates: list[float] = []
    reason = ""
    for make in every:
        try:
            with fp32_arithmetic(name):
                rates.append(_best_product(make, device, seconds))
        except (RuntimeError, NotImplementedError, AttributeError, ImportError, CannotApply) as error:
            reason = reason or str(error).strip().splitlines()[0]
    return (max(rates), "") if rates else (None, reason)


def _best_product(make: Maker, device: torch.device, seconds: float) -> float:
    """Return the best rate over sizes, up to one whose single sample would take longer than `seconds`."""
    best = 0.0
    for size in SIZES:
        try:
            rate = _rate(make(size, device), 2 * size**3, device, seconds)
        except RuntimeError:  # out of memory has a type of its own on CUDA alone
            if best == 0.0:
                raise
            break
        best = max(best, rate)
        if _calls_per_wait(device) * 2 * (2 * size) ** 3 / rate > seconds:
            break
    return best


def _bandwidth(device: torch.device, seconds: float) -> float:
    """Return the most bytes/s of a copy and of a read.

    A CPU reads a line before it writes to it, which nobody counts (McCalpin 1995, "STREAM"): reading alone,
    as a decoder reads its weights, is then faster than any copy.
    """
    size = stream_bytes()
    source = torch.ones(size // 4, dtype=torch.float32, device=device)
    target, total = torch.empty_like(source), torch.empty((), device=device)
    ways = ((lambda: target.copy_(source), 2 * size), (lambda: torch.sum(source, 0, out=total), size))
    return max(_rate(call, moved, device, seconds) for call, moved in ways)


def stream_bytes() -> int:
    """Return the bytes of each array that is copied or read: no cache holds them, however large it is."""
    return max(MIN_STREAM_BYTES, 2 * largest_cache_bytes())


def _rate(call: Callable[[], object], work: float, device: torch.device, seconds: float) -> float:
    wait = None if device.type == "cpu" else partial(synchronize, device)
    calls = _calls_per_wait(device)
    timed = call if calls == 1 else partial(_repeat, call, calls)
    warmup = clock.warm_up(timed, wait, most_s=seconds)
    samples = clock.sample(timed, wait, seconds=seconds, least=3, calls_per_sample=warmup.calls_per_sample)
    return calls * work / min(samples.durations_s)  # the most that it can do: other work only slows it


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def _calls_per_wait(device: torch.device) -> int:
    return 1 if device.type == "cpu" else QUEUED_CALLS
