"""Peak memory of each timed stage: a training step, or inference."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.stages import STAGES
from reports.frames.view import RunView

MEMORY_METRICS = (
    *("peak_tensor_bytes", "peak_weights_bytes", "peak_gradients_bytes", "peak_optimizer_bytes"),
    *("peak_activations_bytes", "rss_growth_bytes", "peak_rss_bytes", "optimizer_state_bytes"),
    *("gpu_allocated_peak_bytes", "gpu_reserved_peak_bytes", "gpu_process_bytes"),
)


def memory_table(view: RunView) -> pd.DataFrame:
    """Return one row for each timed stage; `cells` counts the cells that share it, `cell` names the first.

    `compressions` lists the recipes that run as this same structure.
    """
    rows: dict[str, dict[str, Any]] = {}
    kinds = [row.name for row in STAGES.rows().values() if row.timed_by]
    for cell in view.cells:
        for kind in kinds:
            key = str(cell.stages.get(kind) or "")
            if not key or cell.skipped:
                continue
            if key not in rows:
                rows[key] = _row(view, kind, key, dict(cell.axes)) | {"cell": cell.name, "compressions": []}
            recipes = rows[key]["compressions"]
            if kind == "infer" and cell.axes.get("compression") not in recipes:
                recipes.append(cell.axes.get("compression"))
            rows[key]["cells"] += 1
    for row in rows.values():
        row["compressions"] = ", ".join(str(recipe) for recipe in row["compressions"])
    ordered = sorted(rows.values(), key=lambda row: row["kind"] != "step")
    axes = ("workload", "optimizer", "compressions", "backend", "precision", "batch_size")
    columns = ["kind", *axes, "state", *MEMORY_METRICS, "cells", "cell", "stage_key"]
    return pd.DataFrame(ordered, columns=columns)


def _row(view: RunView, kind: str, key: str, axes: dict[str, Any]) -> dict[str, Any]:
    trains = STAGES.get(kind).works == "trains"
    prefix = "train." if trains else ""
    return {
        "kind": kind,
        "workload": axes.get("workload"),
        "optimizer": axes.get("optimizer") if trains else "",
        **{name: axes.get(prefix + name) for name in ("backend", "precision", "batch_size")},
        "state": view.status(key).state,
        **{metric: view.value(key, metric) for metric in MEMORY_METRICS},
        "cells": 0,
        "stage_key": key,
    }
