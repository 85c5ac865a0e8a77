"""The figure of Pareto fronts: quality against each cost that was measured, side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.formatting import three_digits
from reports.frames.pareto import ranked_points
from reports.plots.figure import GREY, INK, PALETTE, Plot, assign, format_axis, readable, render, shorten

COSTS = {
    "latency_s": "latency",
    "peak_rss_bytes": "peak resident memory",
    "artifact_compressed_bytes": "compressed size",
    "energy_j": "energy of a call",
    "energy_estimate_j": "energy of a call, estimated",
    "money_per_million": "cost of a million samples",
}
"""Column → what it is; an estimate of the energy is shown only where none was measured."""

MAX_POINTS = 400
"""Points of a panel that are not on its front; more would be a cloud."""

_LABEL_HEIGHT = 0.045
"""The height of a label as a share of its panel's."""
_ROOM = 0.9
"""Of an axis' width, what is added on its left for labels."""
_DEPTH = 0.10

Point = dict[str, Any]


def draw_fronts(inference: pd.DataFrame, workload: str, batch_size: Any, currency: str = "") -> Plot | None:
    """Draw a panel for each cost that several ways to serve differ in; None where there is no such cost.

    Money is in the `currency` of the run's price table.
    """
    own = inference[(inference["workload"] == workload) & (inference["batch_size"] == batch_size)]
    found = {cost: ranked_points(own, cost) for cost in COSTS}
    if found["energy_j"]:
        found["energy_estimate_j"] = []
    panels = {cost: points for cost, points in found.items() if _compares(points, cost)}
    if not panels:
        return None
    thinned = any(len(points) > MAX_POINTS for points in panels.values())
    return render(
        f"pareto-fronts-{workload}-batch-{batch_size}",
        f"Pareto fronts of quality and each cost: {workload}, batch {batch_size}",
        "Each point is a compression on a backend after one training, averaged over seeds. Coloured points "
        "are on the front of their panel: nothing is both cheaper and better. Bars are the range over seeds "
        "and the 95 % interval of latency; names leave the training out. "
        f"Points more than {100 * _DEPTH:g} points below the best quality are not drawn."
        + (f" Off the fronts, at most {MAX_POINTS} points are drawn, evenly picked." if thinned else ""),
        lambda: _figure(panels, currency),
    )


def _compares(points: list[Point], cost: str) -> bool:
    """Say whether points differ in cost, and in more than how they were trained."""
    served = {(point["compression"], point["backend"], point["precision"]) for point in points}
    return len(served) > 1 and len({point[cost] for point in points}) > 1


def _figure(panels: dict[str, list[Point]], currency: str) -> Figure:
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.4, 3.9 * lines), layout="constrained")
    grid = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
    backends = assign(
        sorted({str(point["backend"]) for points in panels.values() for point in points}), PALETTE
    )
    every = [point for points in panels.values() for point in points]
    best = max(point["quality"] for point in every)
    floor = max(min(point["quality"] for point in every), best - _DEPTH)
    margin = 0.1 * (best - floor) or 0.01
    grid[0].set_ylim(floor - margin, best + margin)
    for axes, (cost, points) in zip(grid, panels.items(), strict=False):
        _draw_panel(axes, cost, [point for point in points if point["quality"] >= floor], backends)
        unit = f" ({currency})" if currency and cost == "money_per_million" else ""
        axes.set_title(COSTS[cost] + unit)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    format_axis(grid[0], "y", "quality")
    for axes in grid:
        axes.set_ylabel("")
    figure.supylabel("quality on that backend", fontsize=9.5)
    for name, colour in backends.items():
        grid[0].plot([], [], "o", color=colour, label=shorten(str(name)))
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _draw_panel(axes: Axes, cost: str, points: list[Point], backends: dict[Any, str]) -> None:
    front = sorted((point for point in points if point["pareto"]), key=lambda point: point[cost])
    others = [point for point in points if not point["pareto"]]
    step = -(-len(others) // MAX_POINTS) or 1
    thin = others[::step]
    style: dict[str, Any] = {"color": "#c9c9c9", "markersize": 4, "linestyle": "", "zorder": 1}
    axes.plot([p[cost] for p in thin], [p["quality"] for p in thin], "o", **style)
    axes.set_xscale("log")
    if front:
        _draw_front(axes, cost, front, backends)
    low, high = min(p[cost] for p in points), max(p[cost] for p in points)
    axes.set_xlim(low / (high / low) ** _ROOM / 1.2, high * 1.2)
    _format_cost(axes, cost)


def _format_cost(axes: Axes, cost: str) -> None:
    if cost == "money_per_million":  # in the currency of the matrix, so no metric's unit
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: three_digits(value)))
        axes.xaxis.set_minor_locator(NullLocator())
        return
    format_axis(axes, "x", "energy_j" if cost == "energy_estimate_j" else cost, log=True)
    axes.set_xlabel("")


def _draw_front(axes: Axes, cost: str, front: list[Point], backends: dict[Any, str]) -> None:
    line: dict[str, Any] = {"color": GREY, "linewidth": 1.1, "where": "post", "zorder": 2}
    axes.step([point[cost] for point in front], [point["quality"] for point in front], **line)
    for point in front:
        colour = backends[str(point["backend"])]
        bars: dict[str, Any] = {"color": colour, "linewidth": 1.2, "alpha": 0.7, "zorder": 3}
        if point["seeds"] > 1:
            axes.vlines(point[cost], point["quality_low"], point["quality_high"], **bars)
        if cost == "latency_s" and point["latency_low_s"] is not None:
            axes.hlines(point["quality"], point["latency_low_s"], point["latency_high_s"], **bars)
        axes.plot(point[cost], point["quality"], "o", color=colour, markersize=6.5, zorder=4)
    low, high = axes.get_ylim()
    ordered = [front[-1], front[0], *front[1:-1]]
    for place in readable([point["quality"] for point in ordered], _LABEL_HEIGHT * (high - low)):
        _label(axes, cost, ordered[place])


def _label(axes: Axes, cost: str, point: Point) -> None:
    # To the upper left, where by its definition a front has no points.
    text = shorten(f"{point['compression']} @ {point['backend']}", 36)
    look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7, "color": INK, "ha": "right"}
    axes.annotate(text, (point[cost], point["quality"]), (-5, 3), **look)
