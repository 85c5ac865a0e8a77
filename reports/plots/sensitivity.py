"""The figures of sensitivity: what trainings needed over learning rates, and over batch sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, NullLocator

from bench.formatting import three_digits
from reports.frames.sensitivity import BATCH_SIZE, RATE, group_of, sensitivity_labels
from reports.frames.view import records
from reports.plots.figure import (
    DASHES,
    GREY,
    MARKERS,
    PALETTE,
    Plot,
    assign,
    fewer,
    format_axis,
    render,
    shorten,
)

MIN_VALUES = 3
"""A line through two values says nothing of where the range ends."""

_CAPTIONS = {
    RATE: "Medians over seeds. A hollow mark at the budget is a rate at which half of the seeds or more "
    "missed the target. The legend has the decades of rates that reach it, up to those that miss it. The "
    "dashed line is the target.",
    BATCH_SIZE: "Medians over seeds, at the best of the tested rates of each batch size. A hollow mark at "
    "the budget missed the target. Dashed: the trade-off S = S_min + E_min / B (McCandlish et al. 2018), "
    "with the critical batch size E_min / S_min in the legend, where both sides of it were tested.",
}
_TITLES = {RATE: "Sensitivity to the learning rate", BATCH_SIZE: "Sensitivity to the batch size"}

MAX_LINES, MAX_WORKLOADS = 16, 12
"""Optimizers of one figure, and workloads that have one for each setting."""

_MAX_TICKS = 8

_Row = dict[str, Any]


def draw_sensitivities(ranges: pd.DataFrame, points: pd.DataFrame) -> Iterator[Plot]:
    """Yield a figure for each setting and workload, of the first workloads where there are many."""
    enough = ranges[ranges["values"] >= MIN_VALUES]
    for setting in (RATE, BATCH_SIZE):
        every = list(dict.fromkeys(enough[enough["setting"] == setting]["workload"]))
        left_out = fewer(len(every[:MAX_WORKLOADS]), len(every), "workloads", "first")
        for workload in every[:MAX_WORKLOADS]:
            plot = draw_sensitivity(ranges, points, workload, setting)
            if plot is not None:
                yield replace(plot, caption=plot.caption + left_out)


def draw_sensitivity(ranges: pd.DataFrame, points: pd.DataFrame, workload: str, setting: str) -> Plot | None:
    """Draw steps over one setting, and quality or samples; None where no optimizer has three values of it."""
    every = [
        row
        for row in records(ranges)
        if row["workload"] == workload and row["setting"] == setting and row["values"] >= MIN_VALUES
    ]
    if not every:
        return None
    rows = _quickest(every)
    groups = {group_of(row) for row in rows}
    own = (row for row in records(points) if row["workload"] == workload and row["setting"] == setting)
    known = [point for point in own if group_of(point) in groups]
    return render(
        f"sensitivity-{setting}-{workload}",
        f"{_TITLES[setting]}: {workload}",
        _CAPTIONS[setting] + fewer(len(rows), len(every), "optimizers", "quickest to the target, in steps,"),
        lambda: _figure(rows, known, setting),
    )


def _quickest(rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows of at most so many optimizers, those with the fewest steps, in their order."""
    steps = [math.inf if row["steps_to_target"] is None else row["steps_to_target"] for row in rows]
    kept = sorted(range(len(rows)), key=steps.__getitem__)[:MAX_LINES]
    return [rows[place] for place in sorted(kept)]


def _figure(rows: Sequence[_Row], points: Sequence[_Row], setting: str) -> Figure:
    figure = Figure(figsize=(10.8, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    names = sensitivity_labels(rows)
    colours, marks = assign(names, PALETTE), assign(names, MARKERS)
    second = "quality" if setting == RATE else "samples_to_target"
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        own = [point for point in points if group_of(point) == group_of(row)]
        style: dict[str, Any] = {"color": colours[name], "marker": marks[name], "markersize": 5.5}
        dash = DASHES[place // len(PALETTE) % len(DASHES)]
        label = _legend(row, name, setting)
        _line(left, own, "steps_to_target", {**style, "linestyle": dash, "label": label})
        _line(right, own, second, {**style, "linestyle": dash})
        _missed(left, own, style)
        if setting == BATCH_SIZE:
            _trade_off(left, right, row, own, colours[name])
    _axes(left, right, points, setting)
    figure.legend(loc="outside right upper")
    return figure


def _legend(row: _Row, name: str, setting: str) -> str:
    text = shorten(name, 24)
    if setting == BATCH_SIZE:
        size = row["critical_batch"]
        known = size is not None and 0 < size < math.inf
        return f"{text}  critical size {three_digits(size)}" if known else text
    if row["decades"] is None:
        return f"{text}  none"
    most = row["most_decades"]
    width = f"≥ {row['decades']:.1f}" if most is None else f"{row['decades']:.1f} to {most:.1f}"
    return f"{text}  {width} decades"


def _line(axes: Axes, points: Sequence[_Row], column: str, style: Mapping[str, Any]) -> None:
    """Draw a column over the setting; what is unknown is a gap."""
    values = [math.nan if point[column] is None else point[column] for point in points]
    axes.plot([point["value"] for point in points], values, linewidth=1.5, **style)


def _missed(axes: Axes, points: Sequence[_Row], style: Mapping[str, Any]) -> None:
    missed = [point for point in points if point["steps_to_target"] is None]
    hollow = {**style, "markerfacecolor": "white", "linestyle": ""}
    axes.plot([point["value"] for point in missed], [point["budget_steps"] for point in missed], **hollow)


def _trade_off(left: Axes, right: Axes, row: _Row, points: Sequence[_Row], colour: str) -> None:
    if row["min_steps"] is None:
        return
    sizes = np.geomspace(points[0]["value"], points[-1]["value"], 60)
    steps = row["min_steps"] + row["min_samples"] / sizes
    style: dict[str, Any] = {"color": colour, "linestyle": "--", "linewidth": 0.9, "alpha": 0.8}
    left.plot(sizes, steps, **style)
    right.plot(sizes, steps * sizes, **style)


def _ticks(values: Sequence[float], setting: str) -> Locator:
    """Place ticks at the tested batch sizes, and at powers of 10 of rates; at more where they are few."""
    if setting == BATCH_SIZE and len(values) <= _MAX_TICKS:
        return FixedLocator(values)
    return LogLocator(subs=(1.0, 2.0, 5.0) if values[-1] < 60 * values[0] else (1.0,))


def _axes(left: Axes, right: Axes, points: Sequence[_Row], setting: str) -> None:
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("learning rate" if setting == RATE else "batch size")
        axes.xaxis.set_major_locator(_ticks(sorted({point["value"] for point in points}), setting))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    left.set_yscale("log")
    format_axis(left, "y", "steps_to_target", log=True)
    if setting == BATCH_SIZE:
        right.set_yscale("log")
        format_axis(right, "y", "samples_to_target", log=True)
        return
    format_axis(right, "y", "quality")
    right.set_ylabel("final quality")
    for target in {point["target"] for point in points}:
        right.axhline(target, color=GREY, linestyle="--", linewidth=1)
