"""A run as trackers of experiments see it: trainings and cells, each with parameters and metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.formatting import visible
from bench.results.store import Store
from reports.frames import curves, inference_table, training_table
from reports.frames.view import INFER_AXES, TRAIN_AXES, RunView, read, records

TRAINING, CELL = "training", "cell"

_PER_STEP = ("loss", "quality", "seconds", "rate")
"""Columns of the table of curves, by step."""


@dataclass(frozen=True)
class Entry:
    """A training or a cell. `metrics` are by the names of the tables' columns, in their units.

    `curves` have (step, value) at each evaluation of a training.
    """

    kind: str
    name: str
    state: str
    reason: str
    parameters: Mapping[str, str | int | float]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)


def read_entries(store: Store, run_id: str) -> tuple[RunView, list[Entry]]:
    """Return a run with its trainings, then its cells; raises BenchError for one that has neither."""
    view = read(store, run_id)
    found = [*_trainings(view), *_cells(view)]
    if not found:
        raise BenchError(f"run {run_id} has no training and no cell to export")
    return view, found


def _trainings(view: RunView) -> Iterator[Entry]:
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in records(curves(view)):
        by_key.setdefault(row["train_key"], []).append(row)
    for row in records(training_table(view)):
        own = by_key.get(row["train_key"], [])
        name = view.stages[row["train_key"]].label
        found = {metric: _curve(own, metric) for metric in _PER_STEP if own and metric in own[0]}
        known = {metric: values for metric, values in found.items() if values}
        yield _entry(TRAINING, name, row, tuple(TRAIN_AXES.values()), known)


def _cells(view: RunView) -> Iterator[Entry]:
    axes = (*TRAIN_AXES.values(), *INFER_AXES.values())
    for row in records(inference_table(view)):
        yield _entry(CELL, row["cell"], row, axes, {})


def _entry(
    kind: str,
    name: str,
    row: Mapping[str, Any],
    axes: Sequence[str],
    found: Mapping[str, Sequence[tuple[int, float]]],
) -> Entry:
    parameters = {axis: _plain(row[axis]) for axis in axes if row[axis] is not None and row[axis] != ""}
    metrics = {
        column: float(value) for column, value in row.items() if column not in axes and _is_number(value)
    }
    return Entry(
        kind, visible(name), str(row["state"]), visible(str(row["reason"] or "")), parameters, metrics, found
    )


def _curve(rows: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[int, float]]:
    return [
        (int(row["step"]), float(row[metric]))
        for row in rows
        if _is_number(row["step"]) and _is_number(row[metric])
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not pd.isna(value) and math.isfinite(value)


def _plain(value: Any) -> str | int | float:
    return value if isinstance(value, int | float) else visible(str(value))
