"""Accelerators in PyTorch: the device, synchronization, its clock, memory and fp32 arithmetic."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Any

import torch

from techniques.registry import CannotApply

FLUSH_BYTES = 256 * 2**20
"""Bytes that a flush writes: five times the L2 cache of an H200 (50 MB).

As many as the largest cache in front of a GPU's memory holds (256 MB, MI300X), and less than the last caches
of some servers' CPUs together.
"""

QUEUED_CALLS = 20
"""Calls queued at once to time one of them: waiting for each would time the wait too."""

_TF32_CAPABILITY = (8, 0)


def torch_device(name: str) -> torch.device:
    """Return PyTorch's device for a row's `device`: GPUs of AMD are `cuda` to it, under HIP."""
    return torch.device("cuda" if name == "rocm" else name)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its queue; the CPU always has.

    Raises RuntimeError for what failed there meanwhile.
    """
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def device_name(name: str) -> str | None:
    """Return the name of a row's `device` by its library, None where that is not loaded or has none."""
    try:
        if name == "tpu":
            jax = sys.modules.get("jax")
            return None if jax is None else str(jax.devices(name)[0].device_kind)
        if name in ("cuda", "rocm", "xpu"):
            return str(torch.get_device_module(torch_device(name)).get_device_name())
    except (RuntimeError, AssertionError):  # PyTorch's build knows no such device, or there is none
        pass
    return None


def allocator(name: str) -> Any | None:
    """Return the module that counts what PyTorch allocates on a row's `device`, None where none counts.

    It has `synchronize`, `reset_peak_memory_stats`, `max_memory_allocated` and `max_memory_reserved`.
    """
    if name in ("cuda", "rocm", "xpu"):
        return torch.get_device_module(torch_device(name))
    if name == "tpu":
        return _xla_allocator(name)
    # torch.mps shows no peaks, but its allocator counts them.
    return torch.accelerator if name == "mps" and torch.backends.mps.is_available() else None


def _xla_allocator(platform: str) -> Any | None:
    try:
        from techniques.backends.xla_memory import XlaAllocator

        return XlaAllocator(platform)
    except (ImportError, RuntimeError):  # JAX is not here, or has no such device
        return None


@contextmanager
def fp32_arithmetic(precision: str) -> Iterator[None]:
    """Multiply fp32 on NVIDIA GPUs as `set_fp32_arithmetic` says, then as before."""
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    set_fp32_arithmetic(precision)
    try:
        yield
    finally:
        _allow_tf32(matmul, convolution)


def set_fp32_arithmetic(precision: str) -> None:
    """Multiply fp32 on NVIDIA GPUs as TF32 where the precision is `tf32`, else as fp32, until set again.

    Left alone, PyTorch's convolutions are TF32 and its matrix products are not. A process holds one program,
    so what that was loaded with stays. Raises CannotApply where no GPU multiplies TF32.
    """
    if precision == "tf32":
        _check_tf32()
    _allow_tf32(precision == "tf32", precision == "tf32")


def _allow_tf32(matmul: bool, convolution: bool) -> None:
    # These set `fp32_precision` too. That alone would not do: where it contradicts them, Inductor raises an
    # error as it asks for `torch.get_float32_matmul_precision()` (2.13).
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = convolution


def _check_tf32() -> None:
    required = "tf32 requires an NVIDIA GPU of compute capability 8.0"
    if not torch.cuda.is_available() or torch.version.hip is not None:
        raise CannotApply(required)
    capability = torch.cuda.get_device_capability()
    if capability < _TF32_CAPABILITY:
        raise CannotApply(f"{required}; this one has {'.'.join(map(str, capability))}")


class EventTimer:
    """Times what a `with` block queues on an accelerator, by the device's own events.

    `stream` is the one that it is queued on where that is not the current one.
    """

    def __init__(self, device: torch.device, stream: Any = None) -> None:
        event = torch.get_device_module(device).Event
        self._stream = () if stream is None else (stream,)
        self._begin, self._end = event(enable_timing=True), event(enable_timing=True)

    def __enter__(self) -> EventTimer:
        self._begin.record(*self._stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.record(*self._stream)

    def seconds(self) -> float:
        """Wait until the device has come to the block's end, and return how long it took to get there."""
        self._end.synchronize()
        return float(self._begin.elapsed_time(self._end)) / 1e3


def flush_cache(device: torch.device) -> None:
    """Empty the device's caches and wait; call it between samples, not within.

    Writes `FLUSH_BYTES`, which stay allocated: no peak of memory may be read from such a pass.
    """
    _flushed(device).zero_()
    synchronize(device)


@cache
def _flushed(device: torch.device) -> torch.Tensor:
    return torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)
