"""Reads measurements by columns: most have a value and nothing else, so that the rest is read where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import sqlalchemy as sa

from bench.results.store import schema
from bench.results.store.bulk import read_columns
from bench.results.store.columns import Samples, Text, Whole

_RARE = "rare"


def read_measurements(connection: sa.Connection, which: sa.ColumnElement[bool]) -> dict[str, Any]:
    """Return the columns of measurements by name, ordered by launch, metric and qualifier.

    Of `which` no more may be entered between two queries. Floats and `n` are float64 (rows,), NaN where
    unknown, `metric` and `qualifier` categories of pandas, the other texts and the samples objects. Raises
    Damaged as reading the rows one by one does.
    """
    table = schema.measurements
    columns = table.c
    has_more = sa.or_(
        *(columns[name].is_not(None) for name in ("low", "high", "n", "samples")),
        *(columns[name].is_distinct_from("") for name in ("method", "reason")),
    )
    flag = sa.type_coerce(sa.case((has_more, 1), else_=0), Whole()).label(_RARE)
    usual = ("launch_id", "metric", "qualifier", "value")
    query = sa.select(*(columns[name] for name in usual), flag).where(which)
    ordered = (columns.launch_id, columns.metric, columns.qualifier)
    found = read_columns(connection, query.order_by(*ordered), repeated=("metric", "qualifier"))
    places = np.flatnonzero(np.asarray(found.pop(_RARE)))
    others = [column for column in columns if column.name not in usual]
    more = read_columns(connection, sa.select(*others).where(which, has_more).order_by(*ordered))
    rows = len(found["launch_id"])
    return found | {column.name: _spread(column.type, more[column.name], places, rows) for column in others}


def _spread(type_: Any, values: Any, places: np.ndarray, rows: int) -> np.ndarray:
    """Put the values of some rows at their places among all: of others they are unknown, or empty texts."""
    if not isinstance(type_, Text | Samples):
        numbers = np.full(rows, np.nan)
        numbers[places] = np.asarray(values, dtype=float)
        return numbers
    spread = np.full(rows, "" if isinstance(type_, Text) else None, dtype=object)
    # One by one: samples of equal lengths would become one array.
    for place, value in zip(places.tolist(), values, strict=True):
        spread[place] = value
    return spread
