"""What a timed call achieves of its machine's own ceilings, as columns of a table."""

from __future__ import annotations

from typing import Any

from bench.roofline import RooflinePoint, last_cache_bytes, number_format, roofline
from reports.view import RunView

ROOFLINE_COLUMNS = (
    *("achieved_operations_per_s", "operations_per_byte"),
    *("utilization", "roofline_binds", "roofline_share"),
)


def infer_point(view: RunView, infer: str, lower: str) -> RooflinePoint | None:
    """Place an inference: the logical operations of its model, the least bytes that a call moves."""
    operations, moved = view.value(lower, "dense_flops"), view.value(lower, "least_bytes_moved")
    return _point(view, infer, operations, moved, view.value(infer, "latency_s"))


def step_point(view: RunView, step: str) -> RooflinePoint | None:
    """Place a training step: forward, backward and the optimizer's products."""
    parts = [view.value(step, f"{part}_flops") for part in ("forward", "backward", "optimizer")]
    operations = None if None in parts else sum(part or 0.0 for part in parts)
    moved = view.value(step, "least_bytes_moved")
    return _point(view, step, operations, moved, view.value(step, "step_latency_s"))


def roofline_columns(point: RooflinePoint | None) -> dict[str, Any]:
    """Return a point as columns; all None where there is none."""
    if point is None:
        return dict.fromkeys(ROOFLINE_COLUMNS)
    values = (
        *(point.operations_per_s, point.operations_per_byte),
        *(point.utilization, point.binds, point.share),
    )
    return dict(zip(ROOFLINE_COLUMNS, values, strict=True))


def _point(
    view: RunView, key: str, operations: float | None, moved: float | None, seconds: float | None
) -> RooflinePoint | None:
    stage = view.stages.get(key)
    if stage is None:
        return None
    device, settings = stage.request.get("device", ""), stage.request.get("settings", {})
    peak = view.ceiling(device, "ceiling_operations_per_s", number_format(settings))
    bytes_per_s = view.ceiling(device, "ceiling_bytes_per_s")
    caches = [last_cache_bytes(content) for content in view.environments.values()] if device == "cpu" else []
    return roofline(operations, moved, seconds, peak, bytes_per_s, max(caches, default=0))
