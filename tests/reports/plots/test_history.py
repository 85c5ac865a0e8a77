"""The figure of a history: the same bytes for the same runs, whatever changes it has."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest

from bench.analysis.change_points import Change, Kind
from bench.analysis.statistics import Interval
from bench.regression.history import History, Point, Series
from reports.plots.history import draw_history


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
