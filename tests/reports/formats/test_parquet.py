"""Parquet files give a run's frames back: types, unknown values and texts."""

from __future__ import annotations

import io
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
from hypothesis import given, settings
from pyarrow.parquet import read_schema

from reports.formats.parquet import as_parquet
from reports.frames.run import read_frames
from reports.frames.view import RunView


def read_back(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(as_parquet(frame)))


def test_every_frame_of_a_run_comes_back_as_it_was(report: Path, view: RunView) -> None:
    frames = read_frames(view)
    assert {path.stem for path in (report / "tables").glob("*.parquet")} == frames.keys()
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(pd.read_parquet(report / "tables" / f"{name}.parquet"), frame)


def test_types_unknown_values_and_texts_survive() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, np.nan, -0.0],
            "whole": np.array([1, 2, 2**53], dtype=np.int64),
            "flag": [True, False, True],
            "maybe": [True, None, False],
            "unknown": pd.Series([None, None, None], dtype=object),
            "text": ["=SUM(1)", "日本 ≥ µs", None],
        }
    )
    again = read_back(frame)
    pd.testing.assert_frame_equal(again, frame)
    assert np.signbit(again["number"][2]) and again["text"][0] == "=SUM(1)"


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=300) | st.sampled_from(
    ["=cmd()", "\x1b[31m", "\u202e", "nan", "None", "", "\x00", "日本", "<b>"]
)
WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(width=64)
"""NaN, infinities, negative zero and subnormal numbers among them."""


def column(values: st.SearchStrategy[object], dtype: str, rows: int) -> st.SearchStrategy[pd.Series]:
    return st.lists(values, min_size=rows, max_size=rows).map(lambda made: pd.Series(made, dtype=dtype))


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    maybe = st.none()
    kinds = {
        "whole": column(WHOLE, "int64", rows),
        "number": column(NUMBERS, "float64", rows),
        "single": column(st.floats(width=32), "float32", rows),
        "flag": column(st.booleans(), "bool", rows),
        "text": column(TEXTS | maybe, "str", rows),
        "maybe_whole": column(WHOLE | maybe, "Int64", rows),
        "object_text": column(TEXTS, "object", rows),
        "object_flag": column(st.booleans() | maybe, "object", rows),
    }
    return pd.DataFrame({name: draw(kinds[name]) for name in draw(st.permutations(sorted(kinds)))})


@settings(max_examples=60, deadline=None)
@given(frames())
def test_any_frame_of_plain_values_comes_back_as_it_was(frame: pd.DataFrame) -> None:
    again = read_back(frame)
    assert list(again.columns) == list(frame.columns)
    for name in frame.columns:
        before, after = frame[name], again[name]
        assert [_exact(value) for value in after] == [_exact(value) for value in before], name
        if not name.startswith("object"):
            assert after.dtype == before.dtype, name


def _exact(value: object) -> object:
    """Return what tells values apart, bits of floats and unknown ones too."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "unknown"
    if isinstance(value, float | np.floating):
        return ("float", float(value).hex())
    return (type(value).__name__.rstrip("_").replace("int64", "int"), value)


def test_integers_among_unknown_values_keep_every_digit() -> None:
    frame = pd.DataFrame({"whole": pd.Series([2**53 + 1, None, -(2**63)], dtype=object)})
    again = read_back(frame)["whole"]
    assert again.dtype == "Int64" and again[0] == 2**53 + 1 and again[2] == -(2**63) and again[1] is pd.NA
    large = read_back(pd.DataFrame({"whole": pd.Series([2**80, None], dtype=object)}))["whole"]
    assert large[0] == str(2**80)


def test_an_empty_frame_keeps_its_columns() -> None:
    frame = pd.DataFrame([], columns=["workload", "latency_s"])
    assert list(read_back(frame).columns) == ["workload", "latency_s"]


def test_texts_among_numbers_become_texts() -> None:
    frame = pd.DataFrame({"setting": pd.Series([1, "auto", None], dtype=object)})
    assert read_back(frame)["setting"].tolist()[:2] == ["1", "auto"]


def test_columns_carry_their_unit(report: Path) -> None:
    schema = read_schema(report / "tables" / "inference.parquet")
    assert schema.field("latency_s").metadata[b"unit"] == b"s"
    assert b"unit" not in (schema.field("cell").metadata or {})
    assert schema.field("cell").metadata[b"about"] == b"the cell's name"
    assert schema.field("latency_s").metadata[b"about"].startswith(b"median time of one batch")
