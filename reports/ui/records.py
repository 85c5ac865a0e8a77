"""The records of a run: a row for each cell, or for each training where nothing is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pandas as pd

from bench.formatting import format_interval, format_points, format_value
from reports.frames.inference import inference_table
from reports.frames.training import training_table
from reports.frames.view import INFER_AXES, TRAIN_AXES, RunView, records
from reports.ui.table import Cell

SEARCHED = "name"

SERVED = {
    "quality": "quality",
    "quality_loss_points": "loss (points)",
    "latency_s": "latency",
    "artifact_compressed_bytes": "compressed size",
    "peak_rss_bytes": "peak memory",
}
TRAINED = {
    "quality": "quality",
    "steps_to_target": "steps to target",
    "time_to_target_by_steps_s": "time to target",
    "step_latency_s": "step",
    "peak_rss_bytes": "peak memory",
}
"""Numbers of a table of records by its column, each with its heading."""

_BOUNDED = {
    "latency_s": ("latency_low_s", "latency_high_s"),
    "step_latency_s": ("step_latency_low_s", "step_latency_high_s"),
    "time_to_target_by_steps_s": ("time_to_target_by_steps_low_s", "time_to_target_by_steps_high_s"),
}
_AXES = {**{column: axis for axis, column in (TRAIN_AXES | INFER_AXES).items()}, "machine": "machine"}


@dataclass(frozen=True)
class Records:
    """A run's records, with headings of the `axes` that tell them apart and of the measured `numbers`."""

    frame: pd.DataFrame
    axes: Mapping[str, str]
    numbers: Mapping[str, str]

    @property
    def columns(self) -> dict[str, str]:
        return {**self.axes, "state": "state", **self.numbers}


def run_path(run_id: str) -> str:
    """Return the path of a run's page."""
    return f"/runs/{quote(run_id, safe='')}"


def read_records(view: RunView) -> Records:
    """Return the records of a run, as its report has them."""
    served = inference_table(view)
    if len(served):
        frame, numbers, names = served, SERVED, served["cell"]
    else:
        frame, numbers = training_table(view), TRAINED
        names = frame["train_key"].map(lambda key: view.stages[key].label)
    axes = {column: axis for column, axis in _AXES.items() if column in frame and frame[column].nunique() > 1}
    return Records(frame.assign(**{SEARCHED: names.astype(str)}), axes, numbers)


def record_rows(found: Records, page: pd.DataFrame, run_id: str) -> list[tuple[Cell, ...]]:
    """Return a page of records as fields for people; the first leads to the record."""
    return [_row(found, row, run_id) for row in records(page)]


def _row(found: Records, row: Mapping[str, Any], run_id: str) -> tuple[Cell, ...]:
    which = row.get("cell") or row.get("train_key")
    link = f"{run_path(run_id)}/record?{urlencode({'name': which})}"
    state = str(row["state"])
    return (
        Cell(str(row[SEARCHED]), link),
        *(Cell(str(row[column])) for column in found.axes),
        Cell(state, title=str(row["reason"] or ""), mark="" if state == "ok" else "bad"),
        *(_number(row, column) for column in found.numbers),
    )


def _number(row: Mapping[str, Any], column: str) -> Cell:
    value = row[column]
    if column == "quality_loss_points":
        return Cell(format_points(value))
    low, high = (row[name] for name in _BOUNDED[column]) if column in _BOUNDED else (None, None)
    text = format_value(column, value)
    return Cell(text, title="" if low is None else format_interval(column, value, low, high))
