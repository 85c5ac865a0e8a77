"""The range of a setting that reaches the target: as wide as was seen, and no wider than was tested."""

from __future__ import annotations

import math

import pytest

from bench.analysis.sensitivity import reaching_range
from bench.analysis.survival import Outcome

MISSED = math.inf


def seeds(*needed: float) -> list[Outcome]:
    return [Outcome(each, 1000, censored=math.isinf(each)) for each in needed]


def rates(*needed: float) -> dict[float, list[Outcome]]:
    """Return outcomes of one seed at rates 0.0001, 0.001, 0.01 and so on."""
    return {10.0 ** (place - 4): seeds(each) for place, each in enumerate(needed)}


def test_the_range_lies_between_the_rates_that_missed():
    found = reaching_range(rates(MISSED, 400, 200, 300, MISSED))
    assert (found.low, found.best, found.high) == (0.001, 0.01, 0.1)
    assert (found.below, found.above) == (0.0001, 1.0)
    assert found.decades == pytest.approx(2) and found.most_decades == pytest.approx(4)
    assert not found.best_at_end and not found.elsewhere


def test_a_single_rate_that_reaches_it_is_a_range_of_no_width_within_one_of_two_decades():
    found = reaching_range(rates(MISSED, 400, MISSED))
    assert found.decades == 0 and found.most_decades == pytest.approx(2)


@pytest.mark.parametrize(
    ("needed", "at_end"), [((100, 200, MISSED), True), ((200, 100, MISSED), False), ((300, 200, 100), True)]
)
def test_where_the_tests_end_within_the_range_it_has_no_upper_bound(needed, at_end):
    found = reaching_range(rates(*needed))
    assert found.below is None and math.isinf(found.most_decades)
    assert found.decades >= 1 and found.best_at_end == at_end


def test_a_rate_reaches_the_target_if_more_than_half_of_its_seeds_do():
    outcomes = {
        0.001: seeds(500, MISSED, MISSED),
        0.01: seeds(400, MISSED, 600),
        0.1: seeds(300, MISSED),
    }
    found = reaching_range(outcomes)
    assert found.low == found.best == found.high == 0.01


def test_rates_that_reach_it_beyond_one_that_missed_are_not_in_the_range_but_named():
    found = reaching_range(rates(900, MISSED, 200, 300, MISSED))
    assert (found.low, found.high, found.elsewhere) == (0.01, 0.1, (0.0001,))


def test_without_a_rate_that_reaches_it_there_is_no_range():
    assert reaching_range(rates(MISSED, MISSED, MISSED)) is None


@pytest.mark.parametrize("outcomes", [{0.0: seeds(1)}, {math.inf: seeds(1)}, {0.1: []}])
def test_a_rate_that_is_none_is_refused(outcomes):
    with pytest.raises(ValueError, match="positive and finite"):
        reaching_range(outcomes)
