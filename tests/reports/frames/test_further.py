"""Metrics of plug-ins are columns of the tables of the stages that measured them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from bench.metrics import METRICS
from bench.records import Measurement, Result
from reports.frames import inference_table, training_table
from reports.frames.run import read_frames
from reports.frames.view import RunView, read
from reports.grids.run import all_grids
from tests.support.synthetic_run import Synthetic, build


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add metrics as a plug-in does, for one test: one of them has the name of a table's column."""
    monkeypatch.setattr(METRICS, "_rows", dict(METRICS._rows))
    METRICS.add("dice", label="Dice", unit="share", better="higher", quality=True, about="overlap")
    METRICS.add("state", label="solver state", unit="count", about="a name that columns have too")
    METRICS.add("never", about="what no stage measures")
    yield


def view_of(tmp_path: Path) -> RunView:
    measured = (Measurement("quality", 0.9), Measurement("dice", 0.75), Measurement("state", 3.0))
    trained = Result("ok", measurements=(*measured, Measurement("map50", 0.5)))
    evaluated = Result("ok", measurements=(*measured, Measurement("valid", 1.0)))
    results = {"train digits/adam": trained, "evaluate digits/adam": evaluated}
    return read(build(tmp_path, Synthetic(optimizers=("adam",), results=results)), "run-1")


def test_they_are_columns_and_what_nothing_measured_is_none(tmp_path: Path) -> None:
    view = view_of(tmp_path)
    training, inference = training_table(view), inference_table(view)
    for frame in (training, inference):
        assert set(frame["dice"].dropna()) == {0.75}
        assert "never" not in frame
    assert "map50" not in inference and set(training["map50"]) == {0.5}


def test_a_name_that_a_column_has_keeps_that_column_and_gets_another(tmp_path: Path) -> None:
    training = training_table(view_of(tmp_path))
    assert set(training["state"]) == {"ok"} and set(training["metric_state"]) == {3.0}


def test_people_are_shown_them_by_their_label(tmp_path: Path) -> None:
    frames = read_frames(view_of(tmp_path))
    for grid in all_grids(frames):
        if grid.name in ("training", "inference"):
            texts = {row[grid.columns.index("other metrics")].text for row in grid.rows}
            assert any("Dice 75.00 %" in text and "solver state 3" in text for text in texts), grid.name


def test_a_run_without_them_has_the_columns_it_always_had(tmp_path: Path) -> None:
    view = read(build(tmp_path, Synthetic(optimizers=("adam",))), "run-1")
    frames: list[pd.DataFrame] = [training_table(view), inference_table(view)]
    assert not any({"dice", "metric_state"} & set(frame.columns) for frame in frames)
