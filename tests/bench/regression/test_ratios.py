"""What a ratio settles, and which change would have been seen where it settles nothing."""

from __future__ import annotations

import math

import pytest

from bench.analysis.statistics import Interval
from bench.regression.ratios import settled, smallest_told


def test_beyond_a_slowdown_that_is_let_pass_as_much_must_be_seen_as_beyond_none():
    """By hand: to lie above 1.1 as clearly as 1.03 lies above 1, a ratio must be 1.1 x 1.03."""
    ratio = Interval(1.06, 1.03, 1.09, 6, "made up")
    assert smallest_told(ratio, 0.03, 0.1) == pytest.approx(0.133)
    assert smallest_told(ratio, 0.03, 0.0) == pytest.approx(0.09)
    assert smallest_told(ratio, 0.2, 0.0) == pytest.approx(0.2)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.1])
def test_what_would_have_been_seen_is_told_where_it_is_so_large(threshold):
    width = math.log(1.03)
    seen = smallest_told(Interval(1.0, 0.97, 1.03, 6, "made up"), 0.03, threshold)
    value = (1 + seen) * 1.001
    slower = Interval(value, value * math.exp(-width), value * math.exp(width), 6, "made up")
    told = settled(slower, 0.01, threshold)
    assert told is not None and told[0] == "regression"
