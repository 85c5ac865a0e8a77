"""Reads many rows at once by columns: the checks of a column's type, once for each distinct value."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from bench.results.store.columns import LARGEST, Measured, Real, Whole, is_measurable

if TYPE_CHECKING:
    import pandas as pd

Values = Sequence[Any] | np.ndarray

_AT_ONCE = 2000
"""Rows that are turned into columns at once: so few stay in the processor's cache."""


def read_columns(
    connection: sa.Connection, query: sa.Select[Any], repeated: Collection[str] = ()
) -> dict[str, Any]:
    """Return the columns of a query by name: floats as float64 (rows,), NaN where they are unknown, and
    integers that are all known as int64.

    Equal values share one object. Texts that are `repeated` over and over come as categories of pandas.
    Raises Damaged as reading the rows one by one does.
    """
    columns = list(query.selected_columns)
    # Without their types, whose checks SQLAlchemy would make value by value.
    unchecked = [sa.type_coerce(_bare(column), sa.types.NULLTYPE).label(column.name) for column in columns]
    raw: Any = query.with_only_columns(*unchecked, maintain_column_froms=True)
    found = _fetched(connection, raw, len(columns))
    return {
        column.name: (_categories if column.name in repeated else _checked)(
            column.type, values, connection.dialect
        )
        for column, values in zip(columns, found, strict=True)
    }


def _bare(column: Any) -> Any:
    return column.element if isinstance(column, sa.Label) else column


def _fetched(connection: sa.Connection, query: sa.Select[Any], columns: int) -> list[list[Any]]:
    """Return the columns of a query; those of SQLite as its driver has them, in a third of the time."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        return _by_column(connection.execute(query), columns)
    compiled = query.compile(connection, compile_kwargs={"render_postcompile": True})
    text, parameters = compiled.string, [compiled.params[name] for name in compiled.positiontup or ()]
    decode, driver.text_factory = driver.text_factory, str
    try:
        return _by_column(driver.execute(text, parameters), columns)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        # Some text is not UTF-8: the store's own decoder marks what is not.
        driver.text_factory = decode
        return _by_column(driver.execute(text, parameters), columns)
    finally:
        driver.text_factory = decode


def _by_column(result: Any, columns: int) -> list[list[Any]]:
    found: list[list[Any]] = [[] for _ in range(columns)]
    while rows := result.fetchmany(_AT_ONCE):
        for column, values in zip(found, zip(*rows, strict=True), strict=True):
            column.extend(values)
    return found


def _categories(type_: Any, values: list[Any], dialect: sa.Dialect) -> pd.Categorical:
    """Return texts as categories; each distinct one is checked once."""
    import pandas as pd

    read = type_.result_processor(dialect, None)
    places, distinct = pd.factorize(np.array(values, dtype=object))
    if (places < 0).any():
        read(None)
    return pd.Categorical.from_codes(places, pd.Index([read(value) for value in distinct], dtype=object))


def _checked(type_: Any, values: list[Any], dialect: sa.Dialect) -> Values:
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


def _integers(type_: Whole, values: list[Any]) -> np.ndarray | None:
    """Return integers as an array; None where some are unknown or not allowed."""
    try:
        found = np.array(values, dtype=np.int64)
    except (TypeError, OverflowError):
        return None
    return found if ((found >= type_.least) & (found <= LARGEST)).all() else None


def _numbers(type_: Measured | Real, values: list[Any], read: Callable[[Any], Any]) -> Values:
    found = np.array(values, dtype=float)
    if isinstance(type_, Measured):
        found[~is_measurable(found)] = np.nan
        return found
    if ((found >= type_.least) & (found <= type_.most)).all():
        return found
    return [read(value) for value in values]  # some are unknown, or it says which is wrong
