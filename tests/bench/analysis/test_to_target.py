"""A target is reached when it holds, between evaluations too, and never by a number that is none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.to_target import (
    RESOLUTION,
    SUSTAINED,
    Crossing,
    crossing,
    diverged_at,
    first_held,
    meets,
    value_at,
)

ANY_FLOATS = st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.just(0.95), max_size=30)


def test_a_target_must_hold_and_a_lone_crossing_does_not_count():
    found = crossing([0.8, 0.91, 0.89, 0.92, 0.93], 0.9)
    assert found.position == 3 and found.fraction == pytest.approx(1 / 3)
    assert found.on([10, 20, 30, 40, 50]) == pytest.approx(30 + 10 / 3)
    assert crossing([0.8, 0.91, 0.89, 0.92], 0.9) is None


CURVES = {
    "exponential": (lambda step: 0.95 - 0.9 * math.exp(-step / 300), -300 * math.log(0.05 / 0.9)),
    "power": (lambda step: 0.98 - 0.9 * (1 + step / 20) ** -0.5, 20 * ((0.9 / 0.08) ** 2 - 1)),
    "sigmoid": (lambda step: 1 / (1 + math.exp(-(step - 500) / 150)), 500 + 150 * math.log(9)),
    "plateau": (lambda step: 0.901 - 0.9 * math.exp(-step / 300), -300 * math.log(0.001 / 0.9)),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("evaluations", [10, 13, 17])
def test_steps_to_target_are_right_to_one_percent_where_the_grid_is_off_by_ten(curve, evaluations):
    quality, truth = CURVES[curve]
    for shift in (0.0, 0.3, 0.6, 0.9):
        period = truth / (evaluations - shift)
        steps = [period * (number + 1) for number in range(2 * evaluations)]
        found = crossing([quality(step) for step in steps], 0.9)
        assert found.on(steps) == pytest.approx(truth, rel=0.01)
        assert truth <= steps[found.position] * (1 + 1e-9) <= (truth + period) * (1 + 1e-6)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("evaluations", [2, 3, 5, 8, 15, 40])
def test_steps_to_target_are_off_by_no_more_than_they_say(curve, evaluations):
    quality, truth = CURVES[curve]
    for shift in (0.0, 0.2, 0.4, 0.6, 0.8):
        period = truth / (evaluations - shift)
        steps = [period * (number + 1) for number in range(2 * evaluations)]
        found = crossing([quality(step) for step in steps], 0.9)
        assert found.on(steps) == pytest.approx(truth, rel=found.resolution(steps))
        assert found.resolution(steps) >= RESOLUTION
        assert found.resolution(steps) == RESOLUTION or evaluations < 11


def test_a_target_that_held_at_the_first_evaluation_says_nothing_of_when():
    found = crossing([0.95, 0.96], 0.9)
    assert found.at_first and found.on([8.0, 16.0]) == 8 and found.resolution([8.0, 16.0]) == 1
    assert not crossing([0.5, 0.95, 0.96], 0.9).at_first


def test_seconds_and_steps_are_interpolated_to_the_same_moment():
    found = crossing([0.5, 0.8, 0.95, 0.96], 0.9)
    share = found.on([1.0, 2.0, 3.0, 4.0]) - 2
    assert found.on([10.0, 30.0, 70.0, 90.0]) == pytest.approx(30 + 40 * share)


@pytest.mark.parametrize(
    "qualities", [[0.92, 0.93], [math.nan, 0.92, 0.93], [-math.inf, 0.92, 0.93], [math.inf, 0.92, 0.93]]
)
def test_without_a_known_evaluation_before_it_is_the_grids(qualities):
    assert crossing(qualities, 0.9) == Crossing(len(qualities) - 2, 1.0)


@given(ANY_FLOATS, st.floats(allow_nan=False, allow_infinity=False), ANY_FLOATS)
def test_nothing_that_is_not_finite_counts_as_reached(qualities, target, losses):
    losses = [*losses, *[1.0] * len(qualities)][: len(qualities)]
    found = crossing(qualities, target, losses)
    if found is None:
        return
    counted = slice(found.position, found.position + SUSTAINED)
    assert len(qualities[counted]) == SUSTAINED
    assert all(math.isfinite(quality) and quality >= target for quality in qualities[counted])
    assert all(math.isfinite(loss) for loss in losses[: counted.stop])
    steps = [float(number + 1) for number in range(len(qualities))]
    assert steps[found.position] - 1 <= found.on(steps) <= steps[found.position]


@given(st.lists(st.sampled_from([math.nan, math.inf, -math.inf]), max_size=10))
def test_a_curve_of_nothing_but_nan_and_infinities_never_reaches_anything(qualities):
    assert first_held(qualities, -1e300) is None and not any(meets(quality, 0.0) for quality in qualities)


def test_a_target_that_is_not_finite_is_refused():
    for target in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="must be finite"):
            crossing([0.9, 0.9], target)


@pytest.mark.parametrize(
    ("losses", "position"),
    [
        ([2.3, 1.0, 0.5], None),
        ([2.3, 22.9, 1.0], None),
        ([2.3, 1.0, 23.0], 2),
        ([2.3, math.nan], 1),
        ([2.3, math.inf], 1),
        ([2.3, -math.inf], 1),
        ([math.nan, 1.0], 0),
        ([-5.0, -60.0, 60.0], None),
        ([], None),
    ],
)
def test_a_loss_that_is_nan_infinite_or_ten_times_its_start_has_diverged(losses, position):
    assert diverged_at(losses) == position


def test_the_start_of_a_loss_may_be_known_from_before():
    assert diverged_at([24.0, 5.0], start=2.3) == 0 and diverged_at([24.0, 5.0]) is None
    assert diverged_at([1.0, 99.0], start=math.inf) is None
    assert diverged_at([1.0, math.inf], start=math.inf) == diverged_at([1.0, math.nan], start=math.inf) == 1


def test_evaluations_of_a_training_that_has_diverged_do_not_count():
    qualities, losses = [0.5, 0.95, 0.96, 0.97], [2.0, 1.0, 0.9, 0.8]
    assert crossing(qualities, 0.9, losses).position == 1
    assert crossing(qualities, 0.9, [2.0, 1.0, math.nan, 0.8]) is None
    assert crossing(qualities, 0.9, [2.0, 1.0, 20.0, 0.8]) is None


def test_a_curve_is_read_between_its_evaluations_and_not_outside():
    steps, losses = [10.0, 20.0, 30.0], [2.0, 1.0, math.nan]
    assert value_at(steps, losses, 15.0) == pytest.approx(1.5)
    assert value_at(steps, losses, 10.0) == 2.0 and value_at(steps, losses, 20.0) == 1.0
    assert [value_at(steps, losses, step) for step in (5.0, 25.0, 30.0, 40.0)] == [None] * 4
