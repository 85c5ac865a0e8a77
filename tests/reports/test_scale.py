"""The work of a report grows as its run does: counted in calls, which no busy machine changes."""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path

import pytest

from bench.results.store import Store
from reports.content import gather
from reports.formats import csv, json
from tests.support.large_run import RUN, build_large

RECORDS = 150
_WARM_UP = 20


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    sizes = (_WARM_UP, RECORDS, 2 * RECORDS)
    return [build_large(tmp_path_factory.mktemp(f"of-{size}"), size) for size in sizes]


def calls(store: Store) -> int:
    """Count the calls that a report without figures takes."""
    profile = cProfile.Profile()
    with profile:
        content = gather(store, RUN, figures=False)
        for format_ in (csv, json):
            list(format_.render(content))
    counted: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return counted


def test_twice_the_records_take_no_more_than_twice_the_calls(stores: list[Store]) -> None:
    calls(stores[0])  # what is imported and cached once
    few, many = (calls(store) for store in stores[1:])
    assert few < many <= 2.1 * few
    for store in stores:
        store.close()


def test_each_row_of_the_store_is_read_once(tmp_path: Path) -> None:
    store = build_large(tmp_path, 40)
    statements: list[str] = []
    driver = store._engine.raw_connection()
    driver.driver_connection.set_trace_callback(statements.append)
    driver.close()
    gather(store, RUN, figures=False)
    for column in ("measurements.value", "launches.dynamic", "stages.request", "cells.axes"):
        assert sum(column in text for text in statements) == 1, column
    store.close()
