"""Columns that are read at once hold what the rows hold that are read one by one, or are refused alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.results.store import schema
from bench.results.store.bulk import read_columns
from bench.results.store.columns import Damaged
from tests.support.columns import assert_hold_rows
from tests.support.large_run import build_large


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Connection]:
    store = build_large(tmp_path_factory.mktemp("large"), 60)
    with store._engine.connect() as connection:
        yield connection
    store.close()


@pytest.mark.parametrize(
    "table", [schema.stages, schema.cells, schema.launches, schema.measurements], ids=str
)
def test_columns_hold_what_rows_hold(connection: sa.Connection, table: sa.Table) -> None:
    rows = connection.execute(table.select()).all()
    columns = read_columns(connection, table.select())
    assert list(columns) == [column.name for column in table.columns] and len(rows) > 1
    assert_hold_rows(columns, rows)


def test_no_rows_have_empty_columns(connection: sa.Connection) -> None:
    columns = read_columns(connection, schema.launches.select().where(schema.launches.c.id < 0))
    assert {len(values) for values in columns.values()} == {0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE measurements SET n = 1.5 WHERE launch_id = 2", "measurements.n must be an integer"),
        ("UPDATE measurements SET value = 'x' WHERE launch_id = 2", "measurements.value must be a number"),
        ("UPDATE measurements SET metric = CAST(x'ff' AS TEXT) WHERE launch_id = 1", "metric must be text"),
        ("UPDATE launches SET wall_s = 1e300 WHERE id = 2", "launches.wall_s must be a number"),
        ("UPDATE launches SET round = 1.0 WHERE id = 2", ""),  # of an INTEGER column, SQLite makes it 1
    ],
)
def test_what_a_column_cannot_have_is_refused(tmp_path: Path, change: str, message: str) -> None:
    store = build_large(tmp_path, 10)
    table = schema.measurements if "UPDATE measurements" in change else schema.launches
    with store._engine.connect() as connection:
        connection.exec_driver_sql(change)
        if message:
            with pytest.raises(Damaged, match=message):
                read_columns(connection, table.select())
        else:
            assert read_columns(connection, table.select())["round"][1] == 1
        connection.rollback()
    store.close()
