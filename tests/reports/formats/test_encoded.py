"""Columns as texts: each value as it is written alone, whatever else the column holds."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from reports.formats.csv import as_csv
from reports.formats.encoded import encoded
from reports.formats.json import _table_text
from reports.frames.view import plain_list

VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e-300])),
    st.sampled_from(["", "1", "True", "None", "=1", "a", "é"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, max_size=12))
def test_each_value_is_written_as_it_is_alone(values: list[Any]) -> None:
    assert encoded(pd.Series(values, dtype=object), repr, "unknown") == [
        "unknown" if value is None else repr(value) for value in values
    ]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([0.0, -0.0, np.nan, 0.1, 0.1, np.inf]), ["0.0", "-0.0", "?", "0.1", "0.1", "inf"]),
        (pd.Series([np.nan, np.nan]), ["?", "?"]),
        (pd.Series([0.1], dtype="float32"), [repr(float(np.float32(0.1)))]),
        (pd.Series([1.5, None], dtype="Float64"), ["1.5", "?"]),
        (pd.Series([2**62 + 1, None], dtype="Int64"), [str(2**62 + 1), "?"]),
        (pd.Series([True, False, True]), ["True", "False", "True"]),
        (pd.Series(["b", None, "b", ""], dtype="str"), ["'b'", "?", "'b'", "''"]),
        (pd.Series([], dtype=float), []),
        (pd.Series([], dtype=object), []),
    ],
    ids=["floats", "all unknown", "float32", "Float64", "Int64", "flags", "texts", "no floats", "nothing"],
)
def test_every_type_of_column_is_written(column: pd.Series, expected: list[str]) -> None:
    assert encoded(column, repr, "?") == expected


def test_files_have_the_values_that_each_would_be_written_as(report_frame: pd.DataFrame) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(report_frame).decode())))
    columns = [plain_list(column) for _, column in report_frame.items()]
    for row, values in zip(rows[1:], zip(*columns, strict=True), strict=True):
        assert row == ["" if value is None else str(value) for value in values]
    data = json.loads(f"{{{_table_text('t', report_frame)}}}")["t"]["data"]
    assert [list(row.values()) for row in data] == [list(row) for row in zip(*columns, strict=True)]


@pytest.fixture
def report_frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "number": random.normal(size=200).round(1),
            "sometimes": np.where(random.random(200) < 0.5, np.nan, 1e-9),
            "whole": random.integers(-2, 2, 200),
            "flag": random.random(200) < 0.5,
            "text": random.choice(["a,b", 'q"', "two\nlines", "日本", ""], 200),
            "maybe": random.choice(np.array([None, True, "x"], dtype=object), 200),
        }
    )
