"""The unit of a table's column: of a metric's column its metric's, else what its name ends in."""

from __future__ import annotations

from bench.metrics import METRICS

_ENDINGS = (
    ("_samples_per_s", "samples/s"),
    ("_operations_per_s", "operations/s"),
    ("_bytes_per_s", "bytes/s"),
    ("_per_s", "1/s"),
    ("_operations_per_byte", "operations/byte"),
    ("_bytes", "bytes"),
    ("_points", "percentage points"),
    ("_points_low", "percentage points"),
    ("_points_high", "percentage points"),
    ("_flops", "FLOPs"),
    ("_steps", "steps"),
    ("_launches", "launches"),
    ("_disturbed", "launches"),
    ("_share", "share"),
    ("_variation", "share"),
    ("_j", "J"),
    ("_w", "W"),
    ("_s", "s"),
)
_UNITS = {
    **dict.fromkeys(("quality", "target", "share", "time_gap", "recall_uncompressed"), "share"),
    **dict.fromkeys(("error", "median_stage_error", "bytes_error", "answers_flipped"), "share"),
    **dict.fromkeys(("speedup", "speedup_low", "speedup_high", "times_smaller"), "ratio"),
    **dict.fromkeys(("utilization_low", "utilization_high"), "share"),
    **{f"scaling_efficiency{ending}": "share" for ending in ("", "_low", "_high")},
    **dict.fromkeys(("goodput_low", "goodput_high"), "requests/s"),
    **dict.fromkeys(("tokens_per_s_low", "tokens_per_s_high"), "tokens/s"),
    "devices": "devices",
    **dict.fromkeys(("batch_size", "train_batch_size"), "samples"),
    **{"times_smaller_compressed": "ratio", "seconds": "s", "step": "steps"},
    "steps_to_target_with_tuning": "steps",
    **dict.fromkeys(("relative_quality", "relative_quality_uncompressed"), "ratio"),
    **{f"ece{ending}": "share" for ending in ("_low", "_high", "_uncompressed")},
    **{f"nll{ending}": "nats" for ending in ("_low", "_high", "_uncompressed")},
    **dict.fromkeys(("items", "items_lost", "items_won"), "items"),
}

_NO_SHARES = ("_points", "_metric", "_reference")


def unit_of(column: str) -> str:
    """Return a column's unit, empty where it has none."""
    base = column.removeprefix("metric_")
    if base in METRICS and METRICS[base].unit:
        return METRICS[base].unit
    if column in _UNITS:
        return _UNITS[column]
    if column.startswith("quality_") and not column.endswith(_NO_SHARES):
        return "share"
    return next((unit for ending, unit in _ENDINGS if column.endswith(ending)), "")
