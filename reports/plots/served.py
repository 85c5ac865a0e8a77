"""What is served at one place, for figures that compare choices: each structure once, the quickest first."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.frames.view import records

_READ = (
    *(
        "workload",
        "compression",
        "backend",
        "precision",
        "batch_size",
        "machine",
        "state",
        "reason",
        "ranked",
    ),
    *("latency_s", "latency_low_s", "latency_high_s", "latency_preliminary", "speedup", "quality"),
    *("achieved_operations_per_s", "operations_per_byte", "utilization", "roofline_binds", "roofline_share"),
    *("flops_incomplete", "infer_key", "lower_key"),
)

Row = dict[str, Any]


def place(inference: pd.DataFrame, workload: str, batch_size: Any) -> list[Row]:
    """Return the cells of a workload at one batch size, of the columns that figures read."""
    here = (inference["workload"] == workload) & (inference["batch_size"] == batch_size)
    return records(inference, _READ, here)


def quickest(rows: list[Row], most: int) -> list[Row]:
    """Return the cells that are measured and valid, one for each structure that was timed, quickest first."""
    found: dict[str, Row] = {}
    for row in rows:
        if row["ranked"]:
            found.setdefault(row["infer_key"], row)
    return sorted(found.values(), key=lambda row: row["latency_s"])[:most]


def served_name(row: Row, rows: list[Row]) -> str:
    """Name a choice of how to serve; its precision is left out where all have the same."""
    several = len({other["precision"] for other in rows}) > 1
    return f"{row['compression']} @ {row['backend']}" + (f" {row['precision']}" if several else "")
