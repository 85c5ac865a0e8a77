"""The plot of quality against cost: which marks lie on one place, whatever numbers a store holds."""

from __future__ import annotations

import pytest

from reports.plots.tradeoff import _coincide


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1.0, 1.01, True),
        (1.0, 1.05, False),
        (2e9, 2.01e9, True),
        (1e-300, 1e18, False),
        (1e18, 1e-300, False),
    ],
)
def test_costs_within_two_percent_lie_on_one_place_also_the_smallest_and_largest(
    one: float, other: float, same: bool
) -> None:
    points = [{"quality": 0.5, "latency_s": cost} for cost in (one, other)]
    assert _coincide(*points, "latency_s") == same
