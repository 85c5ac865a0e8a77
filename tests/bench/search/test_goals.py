"""Goals are limits of a served cell; what is minimized is better when lower."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.search.goals import Answer, read_problem

LOSS, LATENCY = "quality_loss_points", "latency_s"


def test_all_goals_must_hold() -> None:
    problem = read_problem([f"{LOSS} <= 1", "latency_ms < 2"], "artifact_bytes")
    assert problem.metrics == ("artifact_bytes", LOSS, LATENCY)
    assert problem.holds(Answer({LOSS: 1.0, LATENCY: 0.0019}))
    assert not problem.holds(Answer({LOSS: 1.0, LATENCY: 0.0021}))
    assert not problem.holds(Answer({LOSS: 1.1, LATENCY: 0.0019}))


def test_rounding_breaks_no_goal() -> None:
    assert read_problem([f"{LOSS} <= 1"], LATENCY).holds(Answer({LOSS: 100 * (0.94 - 0.93)}))
    assert read_problem(["accuracy >= 0.93"], LATENCY).holds(Answer({"accuracy": 0.94 - 0.01}))


def test_a_goal_may_hold_within_the_error_of_its_value() -> None:
    problem = read_problem([f"{LOSS} <= 1", "accuracy >= 0.9"], LATENCY)
    assert problem.may_hold(Answer({LOSS: 1.3, "accuracy": 0.89}, {LOSS: 0.4, "accuracy": 0.02}))
    assert not problem.may_hold(Answer({LOSS: 1.3, "accuracy": 0.95}, {LOSS: 0.2}))


def test_the_excess_is_that_of_the_goal_that_is_missed_most() -> None:
    problem = read_problem([f"{LOSS} <= 1", "accuracy >= 0.9"], LATENCY)
    assert problem.excess(Answer({LOSS: 0.5, "accuracy": 0.95})) == 0
    assert problem.excess(Answer({LOSS: 3.0, "accuracy": 0.85})) == pytest.approx(2.0)


def test_what_launches_time_depends_on_the_structure_alone() -> None:
    assert read_problem([], LATENCY).by_structure
    assert not read_problem([], "artifact_compressed_bytes").by_structure


@pytest.mark.parametrize(
    ("goals", "minimize", "said"),
    [
        (["quality_los_points <= 1"], LATENCY, "did you mean 'quality_loss_points'"),
        (["steps_to_target <= 100"], LATENCY, "measured by train; a search goes by lower, evaluate, infer"),
        ([LOSS], LATENCY, "must be METRIC <= NUMBER"),
        ([], "latency", "unknown metric 'latency'; did you mean"),
        ([], "throughput", "not better when lower; write it as --goal 'throughput >= ...'"),
        ([], "step_latency_s", "measured by step"),
    ],
)
def test_mistakes_say_what_would_be_right(goals: list[str], minimize: str, said: str) -> None:
    with pytest.raises(BenchError, match=said.replace("(", r"\(")):
        read_problem(goals, minimize)
