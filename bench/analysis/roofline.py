"""What a call achieves of its machine's own ceilings.

Source of the model: Williams, Waterman & Patterson 2009, "Roofline: An Insightful Visual Performance Model".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Binds = Literal["compute", "memory", "cache"]

CEILING_DEVICES = ("cpu", "cuda", "rocm", "mps", "xpu")
"""Devices whose ceilings PyTorch can measure."""

MAX_UTILIZATION = 1.02
"""Nothing beats the machine: a call above this share of its measured peak rate did less than was counted."""

_NO_NARROWER = {
    "fp32": ("fp32",),
    "tf32": ("tf32", "fp32"),
    **dict.fromkeys(("bf16", "fp16"), ("bf16", "fp16", "tf32", "fp32")),
    **dict.fromkeys(("int8", "fp8"), ("int8", "fp8", "bf16", "fp16", "tf32", "fp32")),
}
"""Number formats that a runtime may multiply in instead: no narrower one."""


@dataclass(frozen=True)
class RooflinePoint:
    """What a call achieves of this machine's own ceilings.

    `share` is of the ceiling that binds it: `compute`, or `memory` where the operations that a byte pays for
    are too few to keep the arithmetic busy. It is `cache` where they are too few and what must move stays in
    the last cache from call to call: no ceiling of that is measured, and `share` is None. Of the compute
    ceiling are `hardware_utilization` (HFU), of all operations, and `utilization` (MFU), of the model's own:
    without those that a training step does again to save memory, or that its optimizer adds (Chowdhery et al.
    2022, "PaLM", appendix B).

    `incomplete` says what the count of operations lacks. All numbers but `share` are then the least that they
    can be, and unless that binds it by `compute`, nothing tells what does.
    """

    operations_per_s: float
    operations_per_byte: float
    binds: Binds | None
    share: float | None
    utilization: float
    hardware_utilization: float
    incomplete: str = ""


def roofline(
    operations: float | None,
    bytes_moved: float | None,
    seconds: float | None,
    peak_operations_per_s: float | None,
    bytes_per_s: float | None,
    cache_bytes: int = 0,
    beyond_model: float = 0.0,
    incomplete: str = "",
) -> RooflinePoint | None:
    """Place a call below the ceilings; None if any input is unknown.

    `beyond_model` are those of the operations that the model does not need: done a second time, or by the
    optimizer. `incomplete` says what the count of operations lacks, and is empty where it is whole.
    """
    if not operations or not bytes_moved or not seconds or not peak_operations_per_s or not bytes_per_s:
        return None
    achieved, intensity = operations / seconds, operations / bytes_moved
    by_memory = intensity * bytes_per_s
    hardware = achieved / peak_operations_per_s
    model = hardware * (1 - beyond_model / operations)
    binds: Binds | None
    if by_memory >= peak_operations_per_s:
        binds, share = "compute", hardware
    elif incomplete:
        binds, share = None, None
    elif bytes_moved <= cache_bytes:
        binds, share = "cache", None
    else:
        binds, share = "memory", achieved / by_memory
    return RooflinePoint(achieved, intensity, binds, share, model, hardware, incomplete)


def beats_machine(
    operations: float | None,
    seconds: float | None,
    number: str,
    peaks: Mapping[str, float | None],
) -> str:
    """Say that a call is faster than its machine can multiply, or return an empty text.

    `peaks` are measured operations a second by number format; `number` is that of the call. Where it is
    emulated, a runtime is free to multiply in a wider format, so the highest peak of those decides. Nothing
    is said of a format whose own peak is unknown. Bytes moved are a model, not a count, and are not judged
    here; see `beats_memory`.
    """
    if not operations or not seconds or not peaks.get(number):
        return ""
    known = {name: peak for name in _NO_NARROWER.get(number, (number,)) if (peak := peaks.get(name))}
    decides = max(known, key=lambda name: known[name])
    share = operations / seconds / known[decides]
    if share <= MAX_UTILIZATION:
        return ""
    return (
        f"{100 * share:.0f} % of the peak rate in {decides} that this run measured: nothing beats the "
        "machine, so outputs were reused or work was left out"
    )


def beats_memory(
    bytes_moved: float | None, seconds: float | None, bytes_per_s: float | None, cache_bytes: int
) -> str:
    """Say that a call is faster than its machine's memory, or return an empty text.

    `bytes_moved` are what each call must read, of which the last cache may still hold as many as it has room
    for; `bytes_per_s` is what was measured of this machine.
    """
    if not bytes_moved or not seconds or not bytes_per_s:
        return ""
    share = max(0.0, bytes_moved - cache_bytes) / bytes_per_s / seconds
    if share <= MAX_UTILIZATION:
        return ""
    return (
        f"{100 * share:.0f} % of the memory's speed that this run measured: nothing beats the machine, so "
        "not all weights were read, or tokens came that no step made"
    )


def last_cache_bytes(environment: Mapping[str, Any]) -> int:
    """Return the size of the CPU's last cache, in an environment `L3 unified: 32768K`; 0 if unknown."""
    cpu = environment.get("cpu")
    caches = cpu.get("caches") if isinstance(cpu, Mapping) else None
    if not isinstance(caches, Mapping) or not caches:
        return 0
    return cache_bytes(str(caches[max(caches)]))


def cache_bytes(size: str) -> int:
    """Read the size of a cache as the kernel writes it, `32768K`; 0 for anything else."""
    found = re.fullmatch(r"(\d{1,12})([KMG]?)", size)
    return int(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2]] if found else 0


def number_format(settings: Mapping[str, Any]) -> str:
    """Return the number format that a stage multiplies in, as ceilings are named by it."""
    number = str(settings.get("format") or "")
    if number == "fp8":
        return "fp8"
    if number.startswith("int8") and number != "int8-weight":
        return "int8"
    return str(settings.get("precision", "fp32"))  # weights alone become that before they are multiplied
