"""What a run will take: nodes, cores, budgets and what is there already, by known answers."""

from __future__ import annotations

import json

import pytest

from bench.costs import CostModel, Estimator, Progress
from bench.records import Result
from bench.results.store import LaunchCost
from tests.support.costs import FREE, LOWERED, cost, stage


def test_timed_launches_end_with_their_workloads_budget_and_what_has_no_room_is_left_out():
    known = [LaunchCost("infer", LOWERED, 2.0, launches=10)]
    stages = [stage("infer", name) for name in "ab"]

    def predicted(budget_s: float | None, launched: dict[str, int] | None = None) -> tuple[float, float]:
        estimator = Estimator(CostModel(known, (), 10), FREE, slots=1, budget_s=budget_s)
        prediction = estimator.predict(stages, Progress(launches=launched))
        assert estimator.rest_s(stages, launched or {}) == pytest.approx(prediction.wall_s)
        return prediction.wall_s, prediction.kinds["infer"].launches

    assert predicted(None) == (40.0, 20)
    assert predicted(100.0) == (40.0, 20)
    assert predicted(20.0) == (20.0, 10)
    assert predicted(1.0) == (1.0, 2)
    assert predicted(20.0, {"a": 4, "b": 4}) == (4.0, 2)


def test_what_else_a_workload_needs_comes_off_its_budget_but_for_training():
    known = [LaunchCost("infer", LOWERED, 2.0, launches=10), cost("lower", 8.0), cost("train", 100.0)]
    stages = [stage("train"), stage("lower"), stage("infer")]
    prediction = Estimator(CostModel(known, (), 10), FREE, slots=2, budget_s=15.0).predict(stages, Progress())
    assert prediction.wall_s == 100.0 + 8.0 / 2 + 11.0


def test_nodes_share_the_work():
    model = CostModel([cost("lower", 4.0), cost("train", 7.0)])
    estimator = Estimator(model, FREE, slots=2, nodes=2)
    assert estimator.predict([stage("lower"), stage("train")], Progress()).wall_s == 1.0 + 3.5


def test_kinds_that_share_the_cores_count_by_the_core_and_the_rest_whole():
    model = CostModel([cost("lower", 4.0), cost("train", 7.0)])
    estimator = Estimator(model, FREE, slots=2)
    stages = [stage("lower", "a"), stage("lower", "b"), stage("train")]
    prediction = estimator.predict(stages, Progress())
    assert prediction.kinds["lower"].wall_s == 8.0
    assert prediction.wall_s == 4.0 + 7.0
    assert estimator.rest_s(stages[1:], {}) == 2.0 + 7.0


def test_what_has_ended_or_is_reused_is_not_predicted_but_counted():
    estimator = Estimator(CostModel([cost("lower", 4.0)]), FREE, slots=1)
    stages = [stage("lower", name) for name in "abc"]
    prediction = estimator.predict(stages, Progress(ended={"a"}, present={"a", "b"}))
    assert (prediction.wall_s, prediction.ended, prediction.reused) == (4.0, 1, 1)
    kept = json.loads(json.dumps(prediction.as_document()))
    assert kept["stages"] == [None, None, 0]


def test_what_ends_is_learnt_from():
    estimator = Estimator(CostModel([], [cost("lower", 100.0)]), FREE, slots=1)
    estimator.learn(stage("lower", "a"), 0, Result("ok", wall_s=3.0))
    assert estimator.rest_s([stage("lower", "b")], {}) == 3.0
