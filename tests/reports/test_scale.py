"""The work of a report grows as its run does: counted in calls, which no busy machine changes."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from bench.interchange.exports import export_format
from bench.results.store import Store
from reports import content
from reports.content import gather
from reports.formats import csv, json
from reports.frames.view import read
from reports.grids import large
from reports.page.cards import cards_of
from reports.write import write_content
from tests.support.large_run import RUN, build_large

RECORDS = 150
_WARM_UP = 20


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Store]]:
    sizes = (_WARM_UP, RECORDS, 2 * RECORDS)
    built = [build_large(tmp_path_factory.mktemp(f"of-{size}"), size) for size in sizes]
    yield built
    for store in built:
        store.close()


def calls(store: Store) -> int:
    """Count the calls that a report without figures takes."""
    profile = cProfile.Profile()
    with profile:
        found = gather(store, RUN, figures=False)
        for format_ in (csv, json):
            list(format_.render(found))
    counted: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return counted


def test_twice_the_records_take_no_more_than_twice_the_calls(stores: list[Store]) -> None:
    calls(stores[0])  # what is imported and cached once
    few, many = (calls(store) for store in stores[1:])
    assert few < many <= 2.1 * few


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> int:
    """Aggregate above so few rows as a run of tests has."""
    most = 10
    monkeypatch.setattr(large, "MAX_ROWS", most)
    monkeypatch.setattr(content, "MAX_ROWS", most)
    return most


def test_what_a_long_table_leaves_out_changes_no_answer(stores: list[Store], few_rows: int) -> None:
    view = read(stores[2], RUN)
    aggregated = content.content_of(view)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "MAX_ROWS", 10_000)
        whole = content.content_of(view, figures=False)
    assert cards_of(aggregated) == cards_of(whole) != []
    assert aggregated.verdict == whole.verdict
    assert aggregated.summary[: len(whole.summary)] == whole.summary
    assert aggregated.answers == whole.answers
    for name, frame in whole.frames.items():
        pd.testing.assert_frame_equal(aggregated.frames[name], frame)
    rows = {grid.name: grid for grid in whole.grids}
    shortened = [grid for grid in aggregated.grids if grid.left_out]
    assert {"inference", "tradeoff", "memory"} <= {grid.name for grid in shortened}
    for grid in shortened:
        assert len(grid.rows) <= few_rows < len(rows[grid.name].rows) == grid.total
        shared = [place for place, name in enumerate(grid.columns) if name in rows[grid.name].columns]
        places = [rows[grid.name].columns.index(grid.columns[place]) for place in shared]
        every = {tuple(row[place] for place in places) for row in rows[grid.name].rows}
        assert {tuple(row[place] for place in shared) for row in grid.rows} <= every


def test_a_report_of_many_cells_has_neither_raw_tables_nor_figures_and_says_how_to_get_them(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(content, "MAX_ROWS", 1)
    found = content.gather(stores[0], RUN)
    written = write_content(found, tmp_path / RUN)
    commands = [f"bench export {RUN} --format {what}" for what in ("csv --to tables/", "figures --to plots/")]
    for command in commands:
        for name in ("report.html", "report.md"):
            assert command in (tmp_path / RUN / name).read_text().replace("\\", ""), name
        assert command in found.last_lines[-1] and command in " ".join(" ".join(found.summary).split())
    assert {path.name for path in (tmp_path / RUN).iterdir()} == {"report.html", "report.md"}
    assert written.is_file() and "(tables/" not in (tmp_path / RUN / "report.md").read_text()
    drawn = export_format("figures").render
    assert drawn is not None and len(drawn(stores[0], RUN).files) > 2


def test_exported_tables_of_many_cells_are_those_of_a_run_of_few(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = [export_format(name) for name in ("csv", "json")]
    few = [export.render(stores[2], RUN).files for export in exports if export.render]
    beside = dict(csv.render(gather(stores[2], RUN, figures=False)))
    monkeypatch.setattr(large, "MAX_ROWS", 1)
    monkeypatch.setattr(content, "MAX_ROWS", 1)
    assert [export.render(stores[2], RUN).files for export in exports if export.render] == few
    assert {f"tables/{name}": data for name, data in few[0]} == beside


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
