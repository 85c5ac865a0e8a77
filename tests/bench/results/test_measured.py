"""Measurements that are read by columns are those of the table, and what is damaged is refused alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.results.store import Store, schema
from bench.results.store.columns import Damaged
from bench.results.store.measured import read_measurements
from tests.support.columns import assert_hold_rows
from tests.support.large_run import build_large

ALL = schema.measurements.c.launch_id > 0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    store: Store = build_large(tmp_path, 80)
    with store._engine.connect() as connection:
        yield connection
        connection.rollback()
    store.close()


def test_columns_hold_what_rows_hold(connection: sa.Connection) -> None:
    columns = schema.measurements.c
    ordered = (columns.launch_id, columns.metric, columns.qualifier)
    rows = connection.execute(schema.measurements.select().order_by(*ordered)).all()
    found = read_measurements(connection, ALL)
    assert set(found) == {column.name for column in columns} and len(rows) > 100
    assert_hold_rows(found, rows)
    assert any(row.samples is not None for row in rows) and any(row.low is not None for row in rows)
    assert {row.method for row in rows} > {""} and {row.reason for row in rows} > {""}


def test_nothing_measured_has_empty_columns(connection: sa.Connection) -> None:
    found = read_measurements(connection, schema.measurements.c.launch_id < 0)
    assert {len(values) for values in found.values()} == {0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("n = 1.5", "measurements.n must be an integer"),
        ("value = 'x'", "measurements.value must be a number"),
        ("low = 'x'", "measurements.low must be a number"),
        ("method = CAST(x'ff' AS TEXT)", "measurements.method must be text"),
        ("reason = x'00'", "measurements.reason must be text"),
        ("samples = 'x'", "measurements.samples must be compressed samples"),
        ("qualifier = x'00'", "measurements.qualifier must be text"),
    ],
)
def test_what_a_column_cannot_have_is_refused(connection: sa.Connection, change: str, message: str) -> None:
    which = "metric = 'ceiling_bytes_per_s'"
    connection.exec_driver_sql(f"UPDATE measurements SET {change} WHERE {which}")
    with pytest.raises(Damaged, match=message):
        read_measurements(connection, ALL)
