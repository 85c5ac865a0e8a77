"""A table for people: built from a frame and a list of columns; columns without information are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bench.analysis.tuning import FIXED
from reports.frames.view import records
from reports.grids.cell import UNKNOWN, Column, Entry
from reports.grids.large import best_rows
from techniques.parallel import ONE_DEVICE
from techniques.regime import CONSTANT, NONE

_SETTINGS = (
    *("workload", "backend", "precision", "batch", "seed", "target", "state", "quality metric"),
    *("train backend", "train precision", "train batch", "schedule", "clipping", "average", "tuning"),
    *("devices", "parallel"),
)
"""Columns with one value in all rows: the value is shown above the table instead."""

_USUAL = (
    ("schedule", CONSTANT),
    ("clipping", NONE),
    ("average", NONE),
    ("tuning", FIXED),
    ("devices", "1"),
    ("parallel", ONE_DEVICE),
)
"""Settings that are not shown where all rows have them."""


@dataclass(frozen=True)
class Grid:
    """A table for people; `shared` has the columns with one value in all rows, and that value.

    `left_out` says which rows are not here, as there are too many for people; it is empty where all are.
    `total` counts them all.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    shared: tuple[tuple[str, str], ...] = ()
    left_out: str = ""
    total: int = 0


def build_grid(name: str, title: str, columns: Sequence[Column], frame: pd.DataFrame) -> Grid:
    """Return a frame as a table for people, without empty columns and shared settings."""
    return without_empty(whole_grid(name, title, columns, frame), constant=_SETTINGS)


def whole_grid(name: str, title: str, columns: Sequence[Column], frame: pd.DataFrame) -> Grid:
    """Return a frame as a table for people, with every column; the best rows of one that is too long."""
    shown, left_out = best_rows(name, frame)
    rows = tuple(tuple(make(row) for _, make in columns) for row in records(shown))
    return Grid(
        name, title, tuple(heading for heading, _ in columns), rows, left_out=left_out, total=len(frame)
    )


def without_empty(grid: Grid, constant: Sequence[str]) -> Grid:
    """Leave out columns that are empty in all rows, and settings that all rows share."""
    kept, shared = [], []
    for index, heading in enumerate(grid.columns):
        entries = [row[index] for row in grid.rows]
        texts = {(entry.text, entry.detail) for entry in entries}
        if entries and all((heading, text) in _USUAL for text, _ in texts):
            continue
        if len(entries) > 1 and len(texts) == 1 and heading in constant and entries[0].text != UNKNOWN:
            shared.append((heading, entries[0].text))
        elif entries and not all(entry.text in (UNKNOWN, "") and not entry.detail for entry in entries):
            kept.append(index)
    return replace(
        grid,
        columns=tuple(grid.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in grid.rows),
        shared=tuple(shared),
    )
