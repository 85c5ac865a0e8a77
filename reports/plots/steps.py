"""The figure of training steps: the time of each part, and what their memory is made of, stacked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, MultipleLocator

from bench.formatting import format_interval, format_value
from reports.frames.steps import MEMORY, PARTS
from reports.frames.training import training_labels
from reports.frames.view import records
from reports.plots.figure import INK, PALETTE, Plot, fewer, format_axis, render, shorten

_SKY, _BLUE, _GREEN, _VERMILION = PALETTE[5], PALETTE[0], PALETTE[2], PALETTE[1]
_TIME = dict(zip(PARTS, (_SKY, _BLUE, _GREEN, _VERMILION), strict=True))
_MEMORY = dict(zip(MEMORY.values(), (_BLUE, _GREEN, _VERMILION, _SKY), strict=True))
_MEMORY_NAMES = {column: name for name, column in MEMORY.items()}

MAX_ROWS = 32
"""Steps that one figure shows."""

_MIN_LABELLED = 0.055
"""A segment narrower than this share of the axis has no room for its share as text."""


class _BinaryLocator(MultipleLocator):
    """Ticks at multiples of the power of 2 that gives four to eight of them, since bytes count in such."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        self.set_params(base=2.0 ** math.floor(math.log2(max(vmax, 8.0) / 4)))
        return super().tick_values(vmin, vmax)


def draw_steps(steps: pd.DataFrame, workload: str) -> Plot | None:
    """Draw the parts of one workload's training steps; None where no part was timed."""
    rows = [
        row
        for row in records(steps)
        if row["workload"] == workload and all(row[f"{part}_s"] is not None for part in PARTS)
    ]
    if not rows:
        return None
    shown = sorted(rows, key=_whole)[:MAX_ROWS]
    return render(
        f"step-parts-{workload}",
        f"Where the time and the memory of a training step go: {workload}",
        "Bars are the parts of a step, timed with marks between them, and each part's share. The black mark "
        "is the step time without marks, with its 95 % interval. On the right, the memory at the peak."
        + fewer(len(shown), len(rows), "steps"),
        lambda: _figure(shown),
    )


def _whole(row: Mapping[str, Any]) -> float:
    return float(row["step_latency_s"] or sum(row[f"{part}_s"] for part in PARTS))


def _figure(rows: Sequence[dict[str, Any]]) -> Figure:
    with_memory = any(row["peak_tensor_bytes"] and row["peak_weights_bytes"] is not None for row in rows)
    columns = 2 if with_memory else 1
    figure = Figure(figsize=(6 + 5 * (columns - 1), 1.6 + 0.34 * len(rows)), layout="constrained")
    axes, *others = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    time = {f"{part}_s": colour for part, colour in _TIME.items()}
    _bars(axes, rows, time)
    for place, row in enumerate(rows):
        _mark_whole(axes, place, row)
    _finish(axes, "step_latency_s", "time of a step")
    _label_shares(axes, rows, time)
    axes.set_yticks(range(len(rows)), list(map(shorten, training_labels(rows, rows))))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    _legend(axes, _TIME)
    for axes in others:
        _bars(axes, rows, _MEMORY)
        _label_peaks(axes, rows)
        _finish(axes, "peak_tensor_bytes", "tensors at the peak")
        _label_shares(axes, rows, _MEMORY)
        _legend(axes, {_MEMORY_NAMES[column]: colour for column, colour in _MEMORY.items()})
    return figure


def _bars(axes: Axes, rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> None:
    """Draw a bar for each row, of the columns that the colours are for."""
    for column, (lefts, values) in _segments(rows, colours).items():
        style: dict[str, Any] = {"color": colours[column], "edgecolor": "white", "linewidth": 0.6}
        axes.barh(range(len(rows)), values, left=lefts, height=0.72, **style)


def _label_shares(axes: Axes, rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> None:
    """Write each segment's share of its bar where there is room."""
    room = _MIN_LABELLED * axes.get_xlim()[1]
    segments = _segments(rows, colours)
    wholes = [sum(values[place] for _, values in segments.values()) for place in range(len(rows))]
    for column, (lefts, values) in segments.items():
        style: dict[str, Any] = {"color": INK if colours[column] == _SKY else "white", "fontsize": 8}
        for place, (left, value) in enumerate(zip(lefts, values, strict=True)):
            if value > room:
                share = f"{100 * value / wholes[place]:.0f} %"
                axes.text(left + value / 2, place, share, ha="center", va="center", **style)


def _segments(
    rows: Sequence[Mapping[str, Any]], columns: Iterable[str]
) -> dict[str, tuple[list[float], list[float]]]:
    """Return for each column where its segment of each row's bar begins, and how long it is."""
    ends = [0.0] * len(rows)
    found = {}
    for column in columns:
        values = [max(0.0, row[column] or 0.0) for row in rows]
        found[column] = (ends, values)
        ends = [end + value for end, value in zip(ends, values, strict=True)]
    return found


def _mark_whole(axes: Axes, place: int, row: Mapping[str, Any]) -> None:
    """Draw the whole step's time with its interval, and write it behind the bar."""
    whole, low, high = (row[f"step_latency_{what}"] for what in ("s", "low_s", "high_s"))
    end = sum(row[f"{part}_s"] for part in PARTS)
    if whole is not None:
        # At the bar's lower edge: there is text in it.
        axes.plot([whole, whole], [place + 0.24, place + 0.5], color=INK, linewidth=1.6)
        if low is not None and high is not None:
            axes.plot([low, high], [place + 0.43] * 2, color=INK, linewidth=1.4, solid_capstyle="butt")
        text = format_interval("step_latency_s", whole, low, high)
        _write(axes, max(end, whole, high or 0.0), place, text)


def _label_peaks(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for place, row in enumerate(rows):
        if row["peak_tensor_bytes"] is not None:
            peak = row["peak_tensor_bytes"]
            _write(axes, peak, place, format_value("peak_tensor_bytes", peak))


def _write(axes: Axes, end: float, place: int, text: str) -> None:
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": INK, "va": "center"}
    axes.annotate(text, (end, place), (5, 0), **style)


def _finish(axes: Axes, metric: str, label: str) -> None:
    axes.set_xlim(0, 1.45 * axes.get_xlim()[1])  # room for what stands behind the longest bar
    axes.grid(axis="y", visible=False)
    format_axis(axes, "x", metric)
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(_BinaryLocator() if metric == "peak_tensor_bytes" else MaxNLocator(6))


def _legend(axes: Axes, colours: Mapping[str, str]) -> None:
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, columnspacing=1, handlelength=1
    )
