"""What a call achieves of its machine's own ceilings.

Source of the model: Williams, Waterman & Patterson 2009, "Roofline: An Insightful Visual Performance Model".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

CEILING_DEVICES = ("cpu", "cuda")
"""Devices whose ceilings PyTorch can measure."""


@dataclass(frozen=True)
class RooflinePoint:
    """What a call achieves of this machine's own ceilings.

    `share` is of the ceiling that binds it: `compute`, or `memory` where the operations that a byte pays for
    are too few to keep the arithmetic busy. `utilization` is of the compute ceiling (model FLOP utilization).
    """

    operations_per_s: float
    operations_per_byte: float
    binds: Literal["compute", "memory"]
    share: float
    utilization: float


def roofline(
    operations: float | None,
    bytes_moved: float | None,
    seconds: float | None,
    peak_operations_per_s: float | None,
    bytes_per_s: float | None,
) -> RooflinePoint | None:
    """Place a call under the ceilings; None where any of it is unknown."""
    if not operations or not bytes_moved or not seconds or not peak_operations_per_s or not bytes_per_s:
        return None
    achieved, intensity = operations / seconds, operations / bytes_moved
    by_memory = intensity * bytes_per_s
    binds: Literal["compute", "memory"] = "memory" if by_memory < peak_operations_per_s else "compute"
    share = achieved / min(peak_operations_per_s, by_memory)
    return RooflinePoint(achieved, intensity, binds, share, achieved / peak_operations_per_s)


def number_format(settings: Mapping[str, Any]) -> str:
    """Return the number format that a stage multiplies in, as ceilings are named by it."""
    format_ = settings.get("format")
    return "int8" if format_ and str(format_).startswith("int8") else str(settings.get("precision", "fp32"))
