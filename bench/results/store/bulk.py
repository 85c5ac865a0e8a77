"""Reads many rows at once by columns: the checks of a column's type, once for each distinct value."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

import numpy as np
import sqlalchemy as sa

from bench.results.store.columns import LARGEST, Measured, Real, Whole, is_measurable

Values = Sequence[Any] | np.ndarray


def read_columns(connection: sa.Connection, query: sa.Select[Any]) -> dict[str, Values]:
    """Return the columns of a query by name: floats as float64 (rows,), NaN where they are unknown, and
    integers that are all known as int64.

    Equal values share one object. Raises Damaged as reading the rows one by one does.
    """
    columns = list(query.selected_columns)
    # Without their types, whose checks SQLAlchemy would make value by value.
    unchecked = [sa.type_coerce(column, sa.types.NULLTYPE).label(column.name) for column in columns]
    raw: Any = query.with_only_columns(*unchecked, maintain_column_froms=True)
    rows = _fetched(connection, raw)
    found = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return {
        column.name: _checked(column.type, values, connection.dialect)
        for column, values in zip(columns, found, strict=True)
    }


def _fetched(connection: sa.Connection, query: sa.Select[Any]) -> Sequence[Sequence[Any]]:
    """Return the rows of a query; those of SQLite as its driver has them, in a third of the time."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        return connection.execute(query).fetchall()
    compiled = query.compile(connection, compile_kwargs={"render_postcompile": True})
    text, parameters = compiled.string, [compiled.params[name] for name in compiled.positiontup or ()]
    decode, driver.text_factory = driver.text_factory, str
    try:
        return driver.execute(text, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        # Some text is not UTF-8: the store's own decoder marks what is not.
        driver.text_factory = decode
        return driver.execute(text, parameters).fetchall()
    finally:
        driver.text_factory = decode


def _checked(type_: Any, values: tuple[Any, ...], dialect: sa.Dialect) -> Values:
    read = type_.result_processor(dialect, None)
    kinds = set(map(type, values)) - {NoneType}
    if isinstance(type_, Measured | Real) and kinds <= {float, int}:
        return _numbers(type_, values, read)
    if isinstance(type_, Whole) and kinds == {int}:
        integers = _integers(type_, values)
        if integers is not None:
            return integers
    # Values of several types may be equal, as 1 and 1.0, and not all of them be right.
    if len(kinds) > 1:
        return [read(value) for value in values]
    known = {value: read(value) for value in dict.fromkeys(values)}
    return [known[value] for value in values]


def _integers(type_: Whole, values: tuple[Any, ...]) -> np.ndarray | None:
    """Return integers as an array; None where some are unknown or not allowed."""
    try:
        found = np.array(values, dtype=np.int64)
    except (TypeError, OverflowError):
        return None
    return found if ((found >= type_.least) & (found <= LARGEST)).all() else None


def _numbers(type_: Measured | Real, values: tuple[Any, ...], read: Callable[[Any], Any]) -> Values:
    found = np.array(values, dtype=float)
    if isinstance(type_, Measured):
        found[~is_measurable(found)] = np.nan
        return found
    if ((found >= type_.least) & (found <= type_.most)).all():
        return found
    return [read(value) for value in values]  # some are unknown, or it says which is wrong
