"""The figure of the roofline: what calls achieve below the ceilings that this machine was measured to have.

Source: Williams, Waterman & Patterson 2009, "Roofline: An Insightful Visual Performance Model".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.formatting import format_value, three_digits
from reports.frames.roofline import Roof
from reports.plots.figure import (
    GREY,
    INK,
    MARKERS,
    PALETTE,
    Plot,
    assign,
    fewer,
    format_axis,
    readable,
    render,
    shorten,
)
from reports.plots.served import Row, place, quickest, served_name

MAX_POINTS = 60
"""Structures that are drawn, the quickest first."""

_MAX_LABELS = 8
_LABEL_HEIGHT = 0.03
"""The height of a label as a share of the axes'."""


def draw_roofline(inference: pd.DataFrame, workload: str, batch_size: Any, roof: Roof | None) -> Plot | None:
    """Draw the timed structures of a workload below the ceilings; None where either is unknown."""
    if roof is None or not roof.operations_per_s or not roof.bytes_per_s:
        return None
    rows = [row for row in place(inference, workload, batch_size) if row["achieved_operations_per_s"]]
    every = quickest(rows, len(rows))
    points = every[:MAX_POINTS]
    if not points:
        return None
    return render(
        f"roofline-{workload}-batch-{batch_size}",
        f"Roofline: {workload}, batch {batch_size}",
        "Lines are the ceilings that this run measured: operations a second in each number format, and bytes "
        "a second × operations for each byte that must move. Points are timed structures, bars their 95 % "
        "interval, hollow ones a lower bound as their FLOP count is incomplete."
        + fewer(len(points), len(every), "structures"),
        lambda: _figure(points, roof),
    )


def _figure(points: list[Row], roof: Roof) -> Figure:
    figure = Figure(figsize=(8.8, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    _draw_roofs(axes, points, roof)
    colours = assign([str(point["backend"]) for point in points], PALETTE)
    markers = assign([str(point["precision"]) for point in points], MARKERS)
    for point in points:
        _draw_point(axes, point, colours[str(point["backend"])], markers[str(point["precision"])])
    low, high = axes.get_ylim()
    heights = [math.log(point["achieved_operations_per_s"]) for point in points]
    for place_ in readable(heights, _LABEL_HEIGHT * math.log(high / low))[:_MAX_LABELS]:
        _label(axes, points[place_], served_name(points[place_], points))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: three_digits(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    format_axis(axes, "y", "achieved_operations_per_s", log=True)
    axes.set_xlabel("operations for each byte that must move")
    for name, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=shorten(str(name)))
    for name, marker in markers.items() if len(markers) > 1 else ():
        axes.plot([], [], marker, color=INK, label=shorten(str(name)))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _draw_roofs(axes: Axes, points: list[Row], roof: Roof) -> None:
    bytes_per_s = float(roof.bytes_per_s or 0.0)
    names: dict[float, list[str]] = {}
    for name, peak in roof.operations_per_s.items():
        names.setdefault(peak, []).append(name)
    peaks = [(", ".join(own), peak) for peak, own in sorted(names.items())]
    intensities = [point["operations_per_byte"] for point in points]
    low = min([*intensities, peaks[0][1] / bytes_per_s]) / 3
    high = max([*intensities, peaks[-1][1] / bytes_per_s]) * 4
    across = np.geomspace(low, high, 200)
    for name, peak in peaks:
        axes.plot(across, np.minimum(peak, bytes_per_s * across), color=GREY, linewidth=1.3, zorder=1)
        text = f"{name} {format_value('achieved_operations_per_s', peak)}"
        axes.annotate(text, (high, peak), (-2, 3), textcoords="offset points", ha="right", fontsize=8)
    text = f"memory {format_value('ceiling_bytes_per_s', bytes_per_s)}"
    axes.annotate(text, (low, bytes_per_s * low), (8, 2), textcoords="offset points", fontsize=8)
    axes.set_xlim(low, high)
    lowest = min(point["achieved_operations_per_s"] for point in points)
    axes.set_ylim(min(lowest, bytes_per_s * low) / 2, 2 * peaks[-1][1])


def _draw_point(axes: Axes, point: Row, colour: str, marker: str) -> None:
    x, y = point["operations_per_byte"], point["achieved_operations_per_s"]
    low, high = point["latency_low_s"], point["latency_high_s"]
    if low and high:
        bounds = [y * point["latency_s"] / bound for bound in (high, low)]
        axes.vlines(x, *bounds, color=colour, linewidth=1.2, zorder=2)
    face = "white" if point["flops_incomplete"] else colour
    axes.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=7, zorder=3)


def _label(axes: Axes, point: Row, name: str) -> None:
    share = point["utilization"]
    text = shorten(name, 36) + (f", {format_value('utilization', share)} of peak" if share else "")
    spot = (point["operations_per_byte"], point["achieved_operations_per_s"])
    axes.annotate(text, spot, (7, 4), textcoords="offset points", fontsize=7, color=INK)
