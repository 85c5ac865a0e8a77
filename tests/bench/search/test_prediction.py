"""What a step changes in one place, it is predicted to change in another."""

from __future__ import annotations

import pytest

from bench.search.goals import Answer
from bench.search.prediction import Additive
from bench.search.space import Candidate

LATENCY, LOSS = "latency_s", "quality_loss_points"


def model(*answers: tuple[str, str, float, float]) -> Additive:
    """Return a model that knows answers: steps, backend, milliseconds, points lost."""
    made = Additive((LATENCY, LOSS))
    for steps, backend, latency_ms, loss in answers:
        answer = Answer({LATENCY: latency_ms / 1e3, LOSS: loss}, {LOSS: 0.3})
        made.learn(Candidate(steps, "", backend), answer)
    return made


def predicted(made: Additive, steps: str, backend: str) -> tuple[float, float] | None:
    answer = made.predict(Candidate(steps, "", backend))
    return None if answer is None else (answer.values[LATENCY] * 1e3, answer.values[LOSS])


def test_times_are_multiplied_and_points_added() -> None:
    made = model(("", "a", 1.0, 0.0), ("", "b", 4.0, 0.2), ("prune", "a", 0.5, 1.0))
    assert predicted(made, "prune", "b") == pytest.approx((2.0, 1.2))


def test_a_chain_is_the_sum_of_its_steps_until_it_is_measured() -> None:
    made = model(("", "a", 1.0, 0.0), ("", "b", 4.0, 0.0), ("x", "a", 0.5, 1.0), ("y", "a", 0.8, 0.1))
    assert predicted(made, "x+y", "b") == pytest.approx((1.6, 1.1))
    made.learn(Candidate("x+y", "", "a"), Answer({LATENCY: 0.9e-3, LOSS: 3.0}))
    assert predicted(made, "x+y", "b") == pytest.approx((3.6, 3.0))


def test_an_effect_is_averaged_over_the_places_where_it_is_known() -> None:
    made = model(
        ("", "a", 1.0, 0), ("", "b", 1.0, 0), ("", "c", 1.0, 0), ("x", "a", 0.5, 1), ("x", "b", 0.125, 3)
    )
    assert predicted(made, "x", "c") == pytest.approx((0.25, 2.0))


def test_nothing_is_predicted_of_what_is_unknown_or_has_failed() -> None:
    made = model(("", "a", 1.0, 0.0), ("x", "a", 0.5, 1.0))
    assert predicted(made, "x", "unseen") is None
    assert predicted(made, "unseen", "a") is None
    made.learn(Candidate("z", "", "a"), Answer(reason="cannot be traced"))
    assert predicted(made, "z", "a") is None and predicted(made, "x+z", "a") is None
    assert predicted(made, "", "a") == pytest.approx((1.0, 0.0))
