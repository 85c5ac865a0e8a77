"""Excel files, read back by openpyxl: values, types, and no text that is a formula."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.results.store import Store
from reports.content import Content, gather
from reports.formats.excel import render
from reports.frames.columns import about
from reports.frames.view import records

openpyxl = pytest.importorskip("openpyxl")

HOSTILE = (
    "=cmd()",
    "+1",
    "-2",
    "@SUM(1)",
    "\x1b[31mred",
    "n" * 40_000,
    "日本",
    "<b>&amp;\"'",
    "true",
    "1e5",
    "",
)


@pytest.fixture(scope="module")
def content(store: Store) -> Content:
    return gather(store, "run-1", figures=False)


def book_of(content: Content) -> Any:
    ((path, data),) = render(content)
    assert path == "tables.xlsx"
    return openpyxl.load_workbook(io.BytesIO(data))


def test_each_table_is_a_sheet_with_the_same_values(content: Content) -> None:
    book = book_of(content)
    assert book.sheetnames == [*content.frames, "columns"]
    for name, frame in content.frames.items():
        headings, *rows = book[name].iter_rows(values_only=True)
        assert list(headings) == list(frame.columns)
        expected = [[value if value != "" else None for value in row.values()] for row in records(frame)]
        assert [[close(value) for value in row] for row in rows] == expected, name


def close(value: Any) -> Any:
    """Compare floats by 16 digits, which the file has."""
    return pytest.approx(value, rel=1e-15, abs=0) if type(value) is float else value


def test_headings_stay_in_sight_and_filter(content: Content) -> None:
    sheet = book_of(content)["inference"]
    assert sheet.freeze_panes == "A2" and sheet.auto_filter.ref.startswith("A1:")


def test_a_sheet_says_what_each_column_is(content: Content) -> None:
    rows = list(book_of(content)["columns"].iter_rows(min_row=2, values_only=True))
    known = {(table, column): (unit, what) for table, column, unit, what in rows}
    assert known["inference", "latency_s"] == ("s", about("inference", "latency_s"))
    assert known["compression", "step"][0] is None
    assert len(rows) == sum(len(frame.columns) for frame in content.frames.values())


def test_no_text_is_a_formula_and_numbers_are_numbers(content: Content) -> None:
    frame = pd.DataFrame(
        {
            "text": pd.Series(HOSTILE, dtype=object),
            "number": [1.5, np.nan, np.inf, -np.inf, -0.0, 1e300, 5e-324, 0.1, 2.0, 3.0, 4.0],
            "mixed": pd.Series(
                [1, "1", None, True, 2.5, np.int64(3), np.float32(0.5), pd.NA, "x", 0, False], dtype=object
            ),
        }
    )
    sheet = book_of(replace(content, frames={"t" * 40: frame}))["t" * 31]
    texts = [sheet.cell(row, 1) for row in range(2, 2 + len(HOSTILE))]
    assert all(cell.data_type in ("s", "n") for cell in texts)
    assert [cell.value for cell in texts][:4] == ["=cmd()", "+1", "-2", "@SUM(1)"]
    assert texts[4].value == r"\x1b[31mred" and len(texts[5].value) == 32_767
    assert [cell.value for cell in texts][8:10] == ["true", "1e5"]
    numbers = [sheet.cell(row, 2).value for row in range(2, 13)]
    assert numbers == [1.5, None, "inf", "-inf", 0, 1e300, 5e-324, 0.1, 2, 3, 4]
    mixed = [sheet.cell(row, 3).value for row in range(2, 13)]
    assert mixed == [1, "1", None, True, 2.5, 3, 0.5, None, "x", 0, False]
