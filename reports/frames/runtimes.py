"""The same models on every backend, in every format and precision, compared with eager PyTorch in fp32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.frames.inference import REFERENCE_BACKEND, REFERENCE_COMPRESSION
from reports.frames.view import RunView, records
from techniques.compression import COMPRESSIONS

_FROM_INFERENCE = (
    *("state", "reason", "ranked", "quality", "relative_error", "absolute_error", "cosine"),
    *("latency_s", "latency_low_s", "latency_high_s", "latency_launches", "latency_preliminary"),
    *("artifact_bytes", "lowering_s", "load_s", "first_call_s", "peak_rss_bytes", "rss_growth_bytes"),
    *("gpu_allocated_peak_bytes", "gpu_process_bytes"),
    "infer_key",
)
_COLUMNS = (
    *("workload", "batch_size", "backend", "format", "precision"),
    *("speedup", "speedup_low", "speedup_high", "fastest", "format_kernels"),
    *_FROM_INFERENCE,
)
_READ = ("workload", "batch_size", "backend", "precision", "compression", *_FROM_INFERENCE)
FP32 = "fp32"


def runtimes_table(view: RunView, inference: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each workload × batch size × backend × format × precision, skipped ones too.

    Of models that no step has changed, by the first of their trainings that is well: kernels take as long for
    any weights.
    `speedup` is over eager PyTorch in fp32 at that batch size, without a format; `fastest` marks the row of
    each workload and batch size that no other is faster than.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    formats = {name: _format(str(name)) for name in inference["compression"].unique()}
    unchanged = [name for name, format_ in formats.items() if format_ is not None]
    for row in records(inference, _READ, inference["compression"].isin(unchanged)):
        format_ = formats[row["compression"]] or ""
        place = (row["workload"], row["batch_size"], row["backend"], format_, row["precision"])
        if place not in rows or (row["ranked"] and not rows[place]["ranked"]):
            rows[place] = _row(view, row, format_)
    _compare(view, list(rows.values()))
    return pd.DataFrame(list(rows.values()), columns=list(_COLUMNS))


def _format(compression: str) -> str | None:
    """Return the format that a compression is and no more, empty for none; None for all others."""
    if compression == REFERENCE_COMPRESSION:
        return ""
    row = COMPRESSIONS.rows().get(compression)
    return compression if row is not None and row.kind == "format" else None


def _row(view: RunView, row: Mapping[str, Any], format_: str) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("workload", "batch_size", "backend", "precision")},
        "format": format_,
        "format_kernels": view.reading(row["infer_key"], "format_kernels").method,
        **{name: row[name] for name in _FROM_INFERENCE},
    }


def _compare(view: RunView, rows: list[dict[str, Any]]) -> None:
    references = {
        (row["workload"], row["batch_size"]): row["infer_key"]
        for row in rows
        if (row["backend"], row["format"], row["precision"]) == (REFERENCE_BACKEND, "", FP32)
    }
    best: dict[tuple[Any, ...], float] = {}
    for row in rows:
        group = (row["workload"], row["batch_size"])
        reference = references.get(group)
        ratio = view.latency_ratio(reference, row["infer_key"]) if reference and row["ranked"] else None
        row["speedup"] = ratio.value if ratio else None
        row["speedup_low"] = ratio.low if ratio else None
        row["speedup_high"] = ratio.high if ratio else None
        if row["ranked"]:
            best[group] = min(best.get(group, row["latency_s"]), row["latency_s"])
    for row in rows:
        own = best.get((row["workload"], row["batch_size"]))
        row["fastest"] = bool(row["ranked"]) and row["latency_s"] == own
