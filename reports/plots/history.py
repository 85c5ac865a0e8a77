"""The figure of a history: what each run measured, the levels between changes, and the drifts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.change_points import Change
from bench.formatting import counted
from bench.metrics import METRICS
from bench.regression.history import History, Series, percent
from reports.plots.figure import GREY, INK, PALETTE, Plot, format_axis, render, shorten

_MAX_TICKS = 24

_CAPTION = (
    "Each run's value with its 95 % interval over launches, oldest first. Lines are the medians between "
    "changes; a drift is a straight line of its size. The share is new over old level."
)


def draw_history(history: History) -> Plot:
    """Draw a metric over the runs of one environment."""
    title = f"{METRICS[_metric(history)].label} of {history.record}"
    name, left_out = f"{history.metric}-{history.record}", ""
    if history.earlier:
        left_out = f" {counted(history.earlier, 'earlier run')} left out."
    return render(name, title, _CAPTION + left_out, lambda: _figure(history, shorten(title, 90)))


def _metric(history: History) -> str:
    return history.metric.partition("[")[0]


def _figure(history: History, title: str) -> Figure:
    series = history.series
    figure = Figure(figsize=(max(6.4, min(14.0, 0.3 * len(series.points) + 3)), 4.2), layout="constrained")
    axes = figure.subplots()
    _draw_points(axes, series)
    _draw_levels(axes, series)
    axes.set_title(title, pad=18)  # above the changes' sizes
    format_axis(axes, "y", _metric(history))
    _label_runs(axes, series)
    return figure


def _draw_points(axes: Axes, series: Series) -> None:
    values = [point.value for point in series.points]
    middle = np.array([value.value for value in values])
    low = np.array([value.value if value.low is None else value.low for value in values])
    high = np.array([value.value if value.high is None else value.high for value in values])
    # A value of few launches can lie outside of its interval by rounding.
    errors = np.maximum([middle - low, high - middle], 0)
    style: dict[str, Any] = {"color": PALETTE[0], "ecolor": GREY, "elinewidth": 1, "markersize": 4.5}
    axes.errorbar(range(len(values)), middle, yerr=errors, fmt="o", **style)


def _draw_levels(axes: Axes, series: Series) -> None:
    """Draw the level of each stretch between changes, the drifts, and each change's size."""
    values = np.array([point.value.value for point in series.points])
    starts = [0, *(change.after for change in series.changes)]
    ends = [*(change.before for change in series.changes), len(values) - 1]
    # Two drifts may overlap, and leave nothing between them.
    stretches = [values[min(a, b) : max(a, b) + 1] for a, b in zip(starts, ends, strict=True)]
    levels = [float(np.median(stretch)) for stretch in stretches]
    for start, end, level in zip(starts, ends, levels, strict=True):
        axes.plot([start - 0.4, end + 0.4], [level, level], color=INK, linewidth=1.5)
    for change, (old, new) in zip(series.changes, pairwise(levels), strict=True):
        _draw_change(axes, change, old, new)


def _draw_change(axes: Axes, change: Change, old: float, new: float) -> None:
    if change.kind == "drift":
        axes.plot([change.before, change.after], [old, new], color=PALETTE[1], linewidth=1.8)
    else:
        axes.axvline(change.before + 0.5, color=PALETTE[1], linestyle="--", linewidth=1)
    if math.isfinite(change.ratio.value):
        place = ((change.before + change.after) / 2, 1.0)
        text = percent(change.ratio).partition(" (")[0]
        across = axes.get_xaxis_transform()
        axes.annotate(text, place, xycoords=across, ha="center", va="bottom", color=PALETTE[1], fontsize=8.5)


def _label_runs(axes: Axes, series: Series) -> None:
    """Put the day and the commit of some runs under them."""
    count = len(series.points)
    places: Sequence[int] = range(0, count, max(1, math.ceil(count / _MAX_TICKS)))
    axes.set_xticks(places, [_label(series, place) for place in places], rotation=45, ha="right", fontsize=8)
    axes.set_xlim(-0.7, count - 0.3)


def _label(series: Series, place: int) -> str:
    point = series.points[place]
    day = datetime.fromtimestamp(point.started_s, UTC).strftime("%Y-%m-%d")
    return f"{day} {point.commit}".rstrip()
