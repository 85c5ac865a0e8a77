"""The plot of quality against cost: where its marks stand, and which lie on one place."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from reports.frames.pareto import ranked_points
from reports.plots import tradeoff
from reports.plots.tradeoff import _coincide
from tests.support.drawn import Keep, marks, segments


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


def test_points_stand_at_their_cost_and_quality_with_both_intervals(
    served_frames: Mapping[str, pd.DataFrame], kept: Keep
) -> None:
    inference, figures = served_frames["inference"], kept(tradeoff)
    tradeoff.draw_tradeoff(inference, "latency_s", "digits", 1)
    points = ranked_points(inference, "latency_s")
    floor = max(point["quality"] for point in points) - tradeoff.DEPTH
    panels = {axes.get_title(): axes for axes in figures[0].axes if axes.get_visible()}
    assert set(panels) == {point["optimizer"] for point in points}
    for point in points:
        axes, place = panels[point["optimizer"]], (point["latency_s"], point["quality"])
        if point["quality"] < floor:
            assert ("v", point["latency_s"], floor) in marks(axes)
            continue
        assert place in {(x, y) for _, x, y in marks(axes)}
        low, high = point["latency_low_s"], point["latency_high_s"]
        assert ((low, place[1]), (high, place[1])) in segments(axes)
        spread = ((place[0], max(floor, point["quality_low"])), (place[0], point["quality_high"]))
        assert spread in segments(axes)
    front = sorted((p["latency_s"], p["quality"]) for p in points if p["pareto"] and p["quality"] >= floor)
    for axes in panels.values():
        (line,) = (own for own in axes.get_lines() if own.get_drawstyle() == "steps-post")
        assert [(x, y) for x, y in line.get_xydata()][:-1] == front


def test_sizes_are_in_bytes(served_frames: Mapping[str, pd.DataFrame], kept: Keep) -> None:
    figures = kept(tradeoff)
    tradeoff.draw_tradeoff(served_frames["inference"], "artifact_compressed_bytes", "digits", 1)
    shown = {x for axes in figures[0].axes for _, x, _ in marks(axes)}
    # int8 200 kB and fp32 800 kB, of which 90 % are left compressed, 60 % where half of the weights are 0.
    assert shown == {0.9 * 2e5, 0.9 * 8e5, 0.6 * 8e5}
    assert any(axes.get_xlabel() == "size compressed" for axes in figures[0].axes)
