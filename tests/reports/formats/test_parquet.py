"""Parquet files give a run's frames back: types, unknown values and texts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
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
