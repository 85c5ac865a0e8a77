"""The figure of a history: the same bytes for the same runs, whatever changes it has."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest

from bench.analysis.change_points import Change, Kind
from bench.analysis.statistics import Interval
from bench.regression.history import History, Point, Series
from reports.plots import history as plots
from reports.plots.history import draw_history
from tests.support.drawn import Keep, lines, segments, texts


def history(
    *changes: Change, values: Sequence[float] = tuple(range(1, 13)), **value: float | None
) -> History:
    bounds = {"low": 0.5, "high": 20.0, **value}
    points = [
        Point(f"run-{number}", 86400.0 * number, Interval(float(each), **bounds, n=3, method=""), {})
        for number, each in enumerate(values)
    ]
    return History("latency_s", "digits/adam", "infer digits", Series(points, changes))


def change(kind: Kind, before: int, after: int) -> Change:
    return Change(kind, before, after, Interval(1.1, 1.05, 1.15, 6, ""), 0.001, "permutation")


@pytest.mark.parametrize(
    "drawn",
    [
        history(),
        history(values=[1.0], low=None, high=None),
        history(change("shift", 5, 6)),
        history(change("drift", 1, 5), change("shift", 6, 7)),
        history(change("drift", 1, 7), change("drift", 5, 9)),
    ],
    ids=["flat", "one run", "shift", "drift and shift", "drifts that overlap"],
)
def test_it_is_drawn_without_warnings_and_is_the_same_each_time(drawn):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot, again = draw_history(drawn), draw_history(drawn)
    assert plot.png.startswith(b"\x89PNG") and b"digits/adam" in plot.svg
    assert (plot.png, plot.svg) == (again.png, again.svg)
    assert "/" not in plot.name


def test_each_run_is_a_point_with_its_interval_and_each_stretch_has_its_median(kept: Keep) -> None:
    values = [1.0, 1.2, 1.1, 2.0, 2.2, 2.4]
    figures = kept(plots)
    draw_history(history(change("shift", 2, 3), values=values, low=0.5, high=3.0))
    axes = figures[0].axes[0]
    (points,) = lines(axes, len(values)).values()
    assert points == list(enumerate(values))
    bars = [bar for bar in segments(axes) if bar[0][0] == bar[1][0]]
    assert bars == [((place, 0.5), (place, 3.0)) for place in range(len(values))]
    levels = {
        line.get_ydata()[0]: list(line.get_xdata())
        for line in axes.get_lines()
        if line.get_color() == "#222222"
    }
    assert levels == {1.1: [-0.4, 2.4], 2.2: [2.6, 5.4]}
    assert texts(axes) == ["+10.0 %"] and axes.get_ylabel() == "latency"


def test_runs_that_were_not_read_are_counted(kept: Keep) -> None:
    kept(plots)
    found = history()
    assert "left out" not in draw_history(found).caption
    found.earlier = 1
    assert draw_history(found).caption.endswith(" 1 earlier run left out.")
