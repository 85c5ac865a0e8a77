"""The figure of latencies: how the calls of each choice spread, with their percentiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.statistics import sample_quantile
from bench.formatting import format_value
from reports.frames.view import RunView
from reports.plots.figure import GREY, INK, PALETTE, Plot, fewer, format_axis, render, shorten
from reports.plots.served import Row, place, quickest, served_name

MAX_ROWS = 24
"""Choices that are drawn, the quickest first."""

_MARKS = {0.5: ("o", PALETTE[0]), 0.9: ("D", PALETTE[4]), 0.99: ("s", PALETTE[1])}
_LABELS = {0.5: "median", 0.9: "90th percentile", 0.99: "99th percentile"}


def draw_latency(view: RunView, inference: pd.DataFrame, workload: str, batch_size: Any) -> Plot | None:
    """Draw the calls of the quickest choices at one batch size; None where no sample of any is stored."""
    rows = place(inference, workload, batch_size)
    every = quickest(rows, len(rows))
    found = [(row, view.timing_samples(row["infer_key"], "latency_s")) for row in every[:MAX_ROWS]]
    found = [(row, launches) for row, launches in found if launches]
    if not found:
        return None
    return render(
        f"latencies-{workload}-batch-{batch_size}",
        f"Latency of single calls: {workload}, batch {batch_size}",
        "The thin line has 98 % of the calls of all launches, the thick one the middle half. Marks are the "
        "median, the 90th and the 99th percentile, with 95 % intervals of order statistics; a percentile "
        "that too few calls support is left out. Small ticks are the medians of launches."
        + fewer(len(found), len(every), "choices"),
        lambda: _figure(found, rows),
    )


def _figure(found: list[tuple[Row, list[np.ndarray]]], rows: list[Row]) -> Figure:
    figure = Figure(figsize=(10, 1.5 + 0.36 * len(found)), layout="constrained")
    axes = figure.subplots()
    drawn = [_draw_calls(axes, at, launches) for at, (_, launches) in enumerate(found)]
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.05, high * (high / low) ** 0.3)  # room for the text behind the longest line
    axes.set_yticks(range(len(found)), [shorten(served_name(row, rows), 52) for row, _ in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    format_axis(axes, "x", "latency_s", log=True)
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, label=_LABELS[quantile])
        for quantile, (marker, colour) in _MARKS.items()
        if any(quantile in own for own in drawn)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw_calls(axes: Axes, at: int, launches: list[np.ndarray]) -> list[float]:
    """Draw the calls of one choice; return the quantiles that there are enough of them for."""
    calls = np.concatenate(launches)
    least, first, third, most = np.quantile(calls, (0.01, 0.25, 0.75, 0.99))
    axes.hlines(at, least, most, color=GREY, linewidth=1, zorder=1)
    axes.hlines(at, first, third, color=PALETTE[5], linewidth=7, zorder=2)
    medians = [float(np.median(launch)) for launch in launches]
    axes.vlines(medians, at + 0.2, at + 0.42, color=INK, linewidth=0.9, zorder=3)
    texts, drawn = [], []
    for quantile, (marker, colour) in _MARKS.items():
        found = sample_quantile(calls.tolist(), quantile)
        if found is None:
            continue
        if found.low is not None and found.high is not None:
            axes.hlines(at, found.low, found.high, color=colour, linewidth=2.2, zorder=4)
        axes.plot(found.value, at, marker, color=colour, markersize=5, zorder=5, markeredgecolor="white")
        drawn.append(quantile)
        texts.append(f"p{100 * quantile:.0f} {format_value('latency_s', found.value)}")
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7.5, "color": INK, "va": "center"}
    axes.annotate("  ".join(texts), (most, at), (8, 0), **style)
    return drawn
