"""What a run predicted, held against what it took."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.costs import CostModel, Estimator, Progress
from bench.costs.comparison import OVERHEAD, WHOLE, compare
from bench.costs.timeline import HANDOVER, RUNNER
from bench.records import Result
from bench.results.store import CellRow, Store
from tests.support.costs import FREE, cost, stage


def test_predicted_is_held_against_taken_for_each_kind_and_the_whole(tmp_path):
    store = Store.open(tmp_path)
    stages = [stage("lower", "a"), stage("lower", "b"), stage("lower", "c")]
    store.start_run("r", "i", "m", "command", {"smoke": False}, stages, [CellRow("cell", {}, {})])
    estimator = Estimator(CostModel([cost("lower", 4.0)]), FREE, slots=2)
    prediction = estimator.predict(stages, Progress(present={"c"}))
    before = {"launches": 0, "overheads": {}}
    store.keep_prediction("r", {**prediction.as_document(), "before": before, "grown": {"store": 100}})
    assert store.run("r")["request"]["smoke"] is False
    for row, wall_s in zip(stages, (5.0, 3.2), strict=False):
        store.add_launch("r", row, 0, Result("ok", start_s=100, wall_s=wall_s, body_s=wall_s))
    store.add_launch("r", stages[2], 0, Result("ok"), reused=True)
    store.add_overhead("r", RUNNER, 1.0)
    store.add_overhead("r", HANDOVER, 0.5)
    comparison = compare(store, "r")
    assert comparison is not None
    rows = {row.part: row for row in comparison.rows}
    assert (rows["lower"].stages, rows["lower"].predicted_s, rows["lower"].taken_s) == (2, 8.0, 8.2)
    assert rows["lower"].stage_errors == pytest.approx((0.2, 0.25))
    assert comparison.median_error == pytest.approx(0.225)
    assert rows[OVERHEAD].taken_s == 1.0
    assert (rows[WHOLE].predicted_s, rows[WHOLE].taken_s) == (4.0, 5.0 + 1.5)
    assert comparison.reused == 1


def resumed(folder: Path, **predicted: float) -> Store:
    """Return a run of two stages that was resumed after the first one, and has `predicted` this too."""
    store = Store.open(folder)
    stages = [stage("lower", "a"), stage("lower", "b")]
    store.start_run("r", "i", "m", "command", {}, stages, [])
    store.add_launch("r", stages[0], 0, Result("ok", start_s=10, wall_s=50, body_s=50))
    store.add_overhead("r", RUNNER, 7.0)
    estimator = Estimator(CostModel([cost("lower", 4.0)]), FREE, slots=1)
    prediction = estimator.predict(stages, Progress(ended={"a"}))
    before = {"launches": 1, "overheads": store.overheads("r")}
    store.keep_prediction("r", {**prediction.as_document(), "before": before, **predicted})
    return store


def finish(store: Store) -> None:
    """Let a resumed run take its second stage."""
    store.add_launch("r", stage("lower", "b"), 0, Result("ok", start_s=900, wall_s=5, body_s=5))
    store.add_overhead("r", RUNNER, 1.0)


def test_a_run_that_went_on_is_held_against_what_it_predicted_when_it_went_on(tmp_path):
    finish(store := resumed(tmp_path))
    comparison = compare(store, "r")
    assert comparison is not None and comparison.ended == 1
    assert (comparison.rows[-1].predicted_s, comparison.rows[-1].taken_s) == (4.0, 5.0 + 1.0)
    assert comparison.from_start is None  # its first execution is of a version that kept no prediction


def test_a_run_that_was_resumed_is_held_against_its_first_prediction_too(tmp_path):
    store = resumed(tmp_path, first_wall_s=20.0)
    assert compare(store, "r").from_start is None  # the second stage is still to come
    finish(store)
    whole = compare(store, "r").from_start
    assert whole is not None
    assert (whole.predicted_s, whole.taken_s) == (20.0, 50.0 + 5.0 + 7.0 + 1.0)


def test_a_run_without_a_prediction_has_nothing_to_compare(tmp_path):
    store = Store.open(tmp_path)
    store.start_run("r", "i", "m", "command", {}, [], [])
    assert compare(store, "r") is None
