"""The table of limits: broken ones first."""

from __future__ import annotations

import pandas as pd

from reports.grids.cell import Column, Entry, Row, plain
from reports.grids.grid import Grid, whole_grid

TITLE = "Limits"


def _verdict(row: Row) -> Entry:
    return Entry(str(row["verdict"]), mark="bad" if row["verdict"] == "broken" else "")


LIMITS: tuple[Column, ...] = (
    ("verdict", _verdict),
    ("stage", plain("stage")),
    ("metric", plain("metric")),
    ("limit", plain("limit")),
    ("measured", plain("text")),
)


def limits_grid(frame: pd.DataFrame) -> Grid:
    """Return the limits of a run, each with what it was held against."""
    return whole_grid("limits", TITLE, LIMITS, frame)
