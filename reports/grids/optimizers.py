"""The table of optimizers for people: medians over seeds."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bench.formatting import format_value
from reports.grids.cell import AFTER_ALL, Column, Entry, Row, metric, plain, quality_metric, timing
from reports.grids.grid import Grid, build_grid


def _reached(row: Row) -> Entry:
    return Entry(f"{row['reached']}/{row['seeds']}", sort=row["reached"] / row["seeds"])


def _steps(row: Row) -> Entry:
    """Show the median steps to the target; where half of the seeds missed it, the steps they trained for."""
    if row["steps_to_target"] is not None:
        return metric("steps_to_target")(row)
    if not row["steps_trained"]:
        return Entry(row["states"], sort=AFTER_ALL, mark="bad")
    text = f"> {format_value('steps_trained', row['steps_trained'])}"
    return Entry(text, row["states"], AFTER_ALL, "bad", brief=f"{text} ({row['states']})")


OPTIMIZERS: tuple[Column, ...] = (
    ("workload", plain("workload")),
    ("optimizer", plain("optimizer")),
    ("seeds that reached the target", _reached),
    ("steps to target", _steps),
    ("time to target", metric("time_to_target_s")),
    ("step time", timing("step_latency", "step_latency_s")),
    ("quality metric", quality_metric),
    ("final quality", metric("quality")),
)


def optimizer_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return the table of the frame `optimizers`."""
    return [build_grid("optimizers", "Optimizers, medians over seeds", OPTIMIZERS, frames["optimizers"])]
