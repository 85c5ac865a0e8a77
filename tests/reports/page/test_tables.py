"""Tables of the page: one line a field, each text once, and the best of each group of too many rows."""

from __future__ import annotations

import json

import pytest

from reports.grids.cell import Entry
from reports.grids.grid import Grid
from reports.page.layout import MAX_ROWS, Table
from reports.page.numbers import as_json, coded, rounded
from reports.page.tables import best_rows, one_line, table_data


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            Entry("35.1 µs†", "34.0 to 36.2 µs, 6 launches", 35.1e-6, low=34.0e-6, high=36.2e-6),
            "35.1 µs† ± 3 %",
        ),
        (Entry("1.01 s", sort=1.01, low=1.009, high=1.011), "1.01 s ± 0.1 %"),
        (Entry("93.20 %", sort=0.932, low=0.928, high=0.936), "93.20 ± 0.4 %"),
        (Entry("-0.30", sort=-0.3, low=-0.5, high=-0.1), "-0.30 ± 0.2"),
        (Entry("0.00", sort=0.0, low=-0.5, high=0.5), "0.00 ± 0.5"),
        (Entry("35.1 µs", sort=35.1e-6), "35.1 µs"),
        (Entry("1.00×", sort=1.0, low=1.0, high=1.0), "1.00×"),
        (Entry("–"), "–"),
        (Entry("", "train 1a2b\nstep 3c4d", mark="key"), "train 1a2b step 3c4d"),
        (Entry("", "a\nb\nc", mark="list"), "a, and 2 more"),
    ],
)
def test_a_field_is_one_line_with_half_the_width_of_its_interval(entry: Entry, text: str) -> None:
    assert one_line(entry) == text


def rows_of(backends: int, seeds: int) -> Grid:
    rows = tuple(
        (Entry(f"b{backend}"), Entry(str(seed)), Entry("", sort=float((seed * 7 + backend) % seeds)))
        for backend in range(backends)
        for seed in range(seeds)
    )
    return Grid("inference", "Inference", ("backend", "seed", "latency"), rows)


def test_of_too_many_rows_the_best_of_each_group_are_kept_and_that_is_said() -> None:
    grid = rows_of(backends=30, seeds=10)
    rows, note = best_rows(grid, Table((), ("backend", "seed"), "latency"), most=100)
    assert [row[0].text for row in rows] == [f"b{backend}" for backend in range(30)]
    assert all(row[2].sort == 0 for row in rows)
    assert note == "30 of 300 rows: the lowest latency of each backend."
    assert best_rows(grid, Table((), ("backend", "seed"), "latency"), most=300) == (grid.rows, "")


def test_a_page_never_has_more_rows_than_it_can_filter() -> None:
    grid = rows_of(backends=3, seeds=MAX_ROWS)
    data = table_data(grid)
    assert data["total"] == 3 * MAX_ROWS and data["rows"] <= MAX_ROWS and data["note"]
    unnamed = table_data(Grid("of-a-plug-in", "Other", grid.columns, grid.rows))
    assert unnamed["rows"] == MAX_ROWS
    assert unnamed["note"] == f"The first {MAX_ROWS:,} of {3 * MAX_ROWS:,} rows."


def test_texts_are_written_once() -> None:
    assert coded(["a", "b", "a"]) == {"of": ["a", "b"], "at": [0, 1, 0]}
    assert coded(["a", "b"]) == {"of": ["a", "b"]}


def test_json_of_any_texts_and_numbers_can_stand_in_a_page() -> None:
    texts = ["</script><!--", "&amp;", "\u2028", "\x1b", '"\\']
    numbers = [rounded(value) for value in (float("nan"), float("inf"), -float("inf"), None, 1 / 3, 2.0)]
    written = as_json({"texts": texts, "numbers": numbers})
    assert not set(written) & set("<>&\u2028")
    assert json.loads(written) == {"texts": texts, "numbers": [None, 1e300, -1e300, None, 0.333333, 2]}
