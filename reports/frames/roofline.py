"""What a timed call achieves of its machine's own ceilings, as columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.analysis.generation import decode_share
from bench.analysis.peaks import Peak, nameplate
from bench.analysis.roofline import (
    RooflinePoint,
    beats_machine,
    beats_memory,
    last_cache_bytes,
    number_format,
    roofline,
)
from reports.frames.counts import flops_incomplete
from reports.frames.view import RunView

ROOFLINE_COLUMNS = (
    *("achieved_operations_per_s", "operations_per_byte"),
    *("utilization", "roofline_binds", "roofline_share"),
)

_FEWER_PRODUCTS = ("winograd", "wino_", "_wino", "fft")
"""Parts of names of kernels that multiply less often than the operation's definition says."""


@dataclass(frozen=True)
class Roof:
    """What a device does at most: operations a second by number format, bytes a second, both as measured."""

    operations_per_s: Mapping[str, float]
    bytes_per_s: float | None


def roofs(view: RunView) -> dict[str, Roof]:
    """Return the measured ceilings of a run's CPU by machine, which is empty where there is only one."""
    found: dict[str, Roof] = {}
    for key, stage in view.stages.items():
        if stage.kind == "ceilings" and stage.request.device == "cpu":
            peaks = {name: peak for name, peak in _measured_peaks(view, key).items() if peak and name}
            found.setdefault(view.machine(key), Roof(peaks, view.value(key, "ceiling_bytes_per_s")))
    return found


def infer_point(view: RunView, infer: str, lower: str) -> RooflinePoint | None:
    """Place an inference: the logical operations of its model, the least bytes that a call moves."""
    operations, moved = view.value(lower, "dense_flops"), view.value(lower, "least_bytes_moved")
    lacking = flops_incomplete(view, lower)

    def place() -> RooflinePoint | None:
        return _point(view, infer, operations, moved, view.value(infer, "latency_s"), incomplete=lacking)

    # Cells of other weights have mostly the same operations, and one timing.
    return view.once(("infer point", infer, operations, moved, lacking), place)


def step_point(view: RunView, step: str) -> RooflinePoint | None:
    """Place a training step: forward, backward and the optimizer's products, and what is computed again."""
    parts = [view.value(step, f"{part}_flops") for part in ("forward", "backward", "optimizer")]
    again = view.value(step, "recomputed_flops") or 0.0
    operations = None if None in parts else again + sum(part or 0.0 for part in parts)
    moved = view.value(step, "least_bytes_moved")
    seconds = view.value(step, "step_latency_s")
    beyond = again + (parts[2] or 0.0)
    return _point(view, step, operations, moved, seconds, beyond, flops_incomplete(view, step))


def infer_excess(view: RunView, infer: str, lower: str) -> str:
    """Say that an inference is faster than its machine can multiply, or return an empty text.

    A convolution by Winograd's algorithm, or by transforms, multiplies less than is counted: not judged.
    """
    if view.once(("fewer products", infer), lambda: _multiplies_less(view, infer)):
        return ""
    operations, seconds = view.value(lower, "dense_flops"), view.value(infer, "latency_s")
    return view.once(("excess", infer, operations), lambda: _excess(view, infer, operations, seconds))


def _multiplies_less(view: RunView, infer: str) -> bool:
    ran = view.reading(infer, "kernels").method.lower()
    return any(word in ran for word in _FEWER_PRODUCTS)


def step_excess(view: RunView, step: str) -> str:
    """Say that a training step is faster than its machine can multiply, or return an empty text.

    The model's own products count, as in MFU: an optimizer may multiply in another format.
    """
    parts = [view.value(step, f"{part}_flops") for part in ("forward", "backward")]
    operations = None if None in parts else sum(part or 0.0 for part in parts)
    return _excess(view, step, operations, view.value(step, "step_latency_s"))


def memory_excess(view: RunView, key: str, moved: float | None, seconds: float | None) -> str:
    """Say that steps of new tokens are faster than memory can be read, or return an empty text."""
    stage = view.stages.get(key)
    ceilings = _sound_ceilings(view, key)
    if stage is None or not ceilings:
        return ""
    rate = view.value(ceilings, "ceiling_bytes_per_s")
    return beats_memory(moved, seconds, rate, _cache_bytes(view, stage.request.device))


def _sound_ceilings(view: RunView, key: str) -> str:
    """Return the stage that measured a stage's device, empty where none did without disturbance.

    A peak that was measured beside other work is too low to judge by.
    """
    stage = view.stages.get(key)
    ceilings = view.ceilings(stage.request.device, view.machine(key)) if stage else ""
    status = view.status(ceilings)
    return "" if status.good == status.disturbed else ceilings


def _excess(view: RunView, key: str, operations: float | None, seconds: float | None) -> str:
    stage, ceilings = view.stages.get(key), _sound_ceilings(view, key)
    if stage is None or not ceilings:
        return ""
    peaks = view.once(("peaks", ceilings), lambda: _measured_peaks(view, ceilings))
    devices = 1 if stage.request.device == "cpu" else stage.request.settings.get("devices", 1)
    peaks = {name: peak and devices * peak for name, peak in peaks.items()}
    return beats_machine(operations, seconds, number_format(stage.request.settings), peaks)


def _measured_peaks(view: RunView, ceilings: str) -> dict[str, float | None]:
    rate = "ceiling_operations_per_s"
    return {name: view.value(ceilings, rate, name) for name in view.qualifiers(ceilings, rate)}


def utilization_columns(view: RunView, step: str, point: RooflinePoint | None) -> dict[str, float | None]:
    """Return a training step's MFU with its interval, which is that of the step time, and its HFU."""
    names = ("utilization", "utilization_low", "utilization_high", "hardware_utilization")
    if point is None:
        return dict.fromkeys(names)
    time = view.reading(step, "step_latency_s")
    bounds = [
        point.utilization * time.value / bound if time.value and bound else None
        for bound in (time.high, time.low)
    ]
    return dict(zip(names, (point.utilization, *bounds, point.hardware_utilization), strict=True))


def roofline_columns(point: RooflinePoint | None) -> dict[str, Any]:
    """Return a point as columns; all None where there is none."""
    if point is None:
        return dict.fromkeys(ROOFLINE_COLUMNS)
    values = (
        *(point.operations_per_s, point.operations_per_byte),
        *(point.utilization, point.binds, point.share),
    )
    return dict(zip(ROOFLINE_COLUMNS, values, strict=True))


def memory_share(view: RunView, key: str, moved: float | None, seconds: float | None) -> float | None:
    """Return which share of some seconds the bandwidth of a stage's device takes for the bytes moved.

    None where one is unknown, and where the processor's cache holds them all.
    """
    stage = view.stages.get(key)
    if stage is None or moved is None or not seconds:
        return None
    _, bytes_per_s = _ceilings(view, stage.request.device, "", view.machine(key))
    if not bytes_per_s or moved <= _cache_bytes(view, stage.request.device):
        return None
    return decode_share(moved, bytes_per_s, seconds)


def _cache_bytes(view: RunView, device: str) -> int:
    caches = [last_cache_bytes(content) for content in view.environments.values()] if device == "cpu" else []
    return max(caches, default=0)


def _point(
    view: RunView,
    key: str,
    operations: float | None,
    moved: float | None,
    seconds: float | None,
    beyond_model: float = 0.0,
    incomplete: str = "",
) -> RooflinePoint | None:
    stage = view.stages.get(key)
    if stage is None:
        return None
    device, settings = stage.request.device, stage.request.settings
    of_device = (device, number_format(settings), view.machine(key))
    peak, bytes_per_s = view.once(("ceilings", *of_device), lambda: _ceilings(view, *of_device))
    if device != "cpu":  # a CPU's devices are parts of what its ceilings were measured on
        devices = settings.get("devices", 1)
        peak, bytes_per_s = peak and devices * peak, bytes_per_s and devices * bytes_per_s
    cache_bytes = view.once(("cache", device), lambda: _cache_bytes(view, device))
    return roofline(operations, moved, seconds, peak, bytes_per_s, cache_bytes, beyond_model, incomplete)


def _ceilings(view: RunView, device: str, number: str, machine: str) -> tuple[float | None, float | None]:
    """Return what a device does at most: as the matrix says, else as measured, else as its name promises."""
    said = (view.run["request"].get("peaks") or {}).get(device, {})
    named = None if device == "cpu" else _nameplate(view)
    peak = (
        (said.get("operations_per_s") or {}).get(number)
        or view.ceiling(device, "ceiling_operations_per_s", number, machine)
        or (named.operations_per_s.get(number) if named else None)
    )
    bytes_per_s = (
        said.get("bytes_per_s")
        or view.ceiling(device, "ceiling_bytes_per_s", machine=machine)
        or (named.bytes_per_s if named else None)
    )
    return peak, bytes_per_s


def _nameplate(view: RunView) -> Peak | None:
    """Return the peak of the accelerator that a run's launches name first, None where none is known."""
    boards = [board for content in view.environments.values() for board in content.get("accelerators", ())]
    return nameplate(str(boards[0]["name"])) if boards else None
