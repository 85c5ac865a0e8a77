"""This machine's measured peaks: FLOP/s of matrix products, bytes/s to and from memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from bench.instruments import clock
from bench.instruments.processor import largest_cache_bytes
from techniques.backends.accelerators import QUEUED_CALLS, fp32_arithmetic, synchronize
from techniques.registry import CannotApply

SIZES = (256, 512, 1024, 2048, 4096, 8192)
"""Sides of the square matrices that are multiplied: the best size is the ceiling."""

MIN_STREAM_BYTES = 256 * 2**20
"""Bytes of each array that is copied, or twice the largest cache of the CPU if that is more."""


@dataclass(frozen=True)
class Ceilings:
    """`operations_per_s` by number format (int8: operations), `None` where it cannot multiply there.

    `reasons` say why. `bytes_per_s` counts what is read and what is written.
    """

    operations_per_s: Mapping[str, float | None]
    bytes_per_s: float | None
    reasons: Mapping[str, str]


def measure_ceilings(device: torch.device, seconds: float = 0.3) -> Ceilings:
    """Measure, for about `seconds` each, matrix products in each format and a copy that no cache holds.

    What the device cannot do is None with the reason: nothing is raised for it.
    """
    found: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name, make in _products(device).items():
        try:
            with fp32_arithmetic(name):
                found[name] = _best_product(make, device, seconds)
        except (RuntimeError, NotImplementedError, AttributeError, CannotApply) as error:
            found[name] = None
            reasons[name] = str(error).strip().splitlines()[0]
    try:
        bytes_per_s = _bandwidth(device, seconds)
    except (RuntimeError, MemoryError) as error:  # two arrays that no cache holds may be more than there is
        bytes_per_s = None
        reasons["memory"] = str(error).strip().splitlines()[0]
    return Ceilings(found, bytes_per_s, reasons)


def _best_product(
    make: Callable[[int, torch.device], Callable[[], object]], device: torch.device, seconds: float
) -> float:
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


def _product(dtype: torch.dtype) -> Callable[[int, torch.device], Callable[[], object]]:
    def make(size: int, device: torch.device) -> Callable[[], object]:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty(size, size, dtype=dtype, device=device)
        return lambda: torch.mm(left, right, out=out)

    return make


def _int8_product(size: int, device: torch.device) -> Callable[[], object]:
    left, right = (torch.randint(-128, 127, (size, size), dtype=torch.int8, device=device) for _ in range(2))
    return lambda: torch._int_mm(left, right)


_Products = Mapping[str, Callable[[int, torch.device], Callable[[], object]]]

_PRODUCTS: _Products = {
    "fp32": _product(torch.float32),
    "bf16": _product(torch.bfloat16),
    "fp16": _product(torch.float16),
    "int8": _int8_product,
}


def _products(device: torch.device) -> _Products:
    """Return the products that a device is asked for: TF32 is a format of NVIDIA's GPUs alone."""
    if device.type != "cuda" or torch.version.hip is not None:
        return _PRODUCTS
    return {**_PRODUCTS, "tf32": _product(torch.float32)}


def _bandwidth(device: torch.device, seconds: float) -> float:
    size = stream_bytes()
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return _rate(lambda: target.copy_(source), 2 * size, device, seconds)


def stream_bytes() -> int:
    """Return the bytes of each array that is copied: no cache holds them, however large it is."""
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
