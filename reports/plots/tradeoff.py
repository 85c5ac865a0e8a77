"""Figures of what compression buys: quality against latency, and against the size of the artifact."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.frames.pareto import ranked_points
from reports.frames.training import training_labels
from reports.plots.figure import GREY, INK, MARKERS, PALETTE, Plot, assign, format_axis, render, shorten

DEPTH = 0.10
"""Points this far below the best quality are drawn on the lower edge."""

MAX_PANELS = 9

_RING: dict[str, Any] = {
    **{"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.2},
    **{"markersize": 19, "zorder": 4, "clip_on": False},
}

_COSTS = {
    "latency_s": ("quality-latency", "Quality against latency"),
    "artifact_compressed_bytes": ("quality-size", "Quality against compressed size"),
}

_BARS = {"latency_s": "95 % intervals of latency and ", "artifact_compressed_bytes": ""}


def draw_tradeoff(inference: pd.DataFrame, cost: str, workload: str, batch_size: Any) -> Plot | None:
    """Draw one panel for each training, colour by compression, marker by backend; None without points."""
    own = inference[(inference["workload"] == workload) & (inference["batch_size"] == batch_size)]
    points = ranked_points(own, cost)
    if not points:
        return None
    every = list(dict.fromkeys(training_labels(points, points)))
    panels = _panels(points, every)
    name, title = _COSTS[cost]
    return render(
        f"{name}-{workload}-batch-{batch_size}",
        f"{title}: {workload}, batch {batch_size}",
        f"Colour is the compression, shape the backend; bars are {_BARS[cost]}the range of quality over "
        "seeds. The grey line is the Pareto front over all panels, ringed points are on it: no point is both "
        f"cheaper and better. Small ▼ on the lower edge lie more than {100 * DEPTH:g} points below the best. "
        "Where points coincide, the larger mark lies behind. INVALID, skipped and failed cells are not "
        "drawn."
        + (
            f" Panels: {len(panels)} of {len(every)} trainings, the front is over all."
            if len(panels) < len(every)
            else ""
        ),
        lambda: _figure(points, panels, cost),
    )


def _panels(points: list[dict[str, Any]], every: list[str]) -> list[str]:
    """Return the trainings that get a panel: of too many, those with points on the front, then the first."""
    names = zip(training_labels(points, points), points, strict=True)
    front = {name for name, point in names if point["pareto"]}
    kept = sorted(every, key=lambda name: name not in front)[:MAX_PANELS]
    return [name for name in every if name in kept]


def _figure(points: list[dict[str, Any]], panels: list[str], cost: str) -> Figure:
    names = training_labels(points, points)
    columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.4 * columns + 2.8, 3.2 * lines + 0.5), layout="constrained")
    grid = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    backends = [_backend(point, points) for point in points]
    colours = assign([point["compression"] for point in points], PALETTE)
    markers = assign(backends, MARKERS)
    best = max(point["quality"] for point in points)
    floor = max(min(point["quality_low"] for point in points), best - DEPTH)
    for panel, axes in zip(panels, grid, strict=False):
        axes.set_title(shorten(panel, 40))
        own = [index for index, name in enumerate(names) if name == panel]
        for place, index in enumerate(own):
            point = points[index]
            above = [points[later] for later in own[place + 1 :] if _coincide(point, points[later], cost)]
            size = 7 + 2.5 * min(len(above), 3)
            ringed = point["pareto"] and not any(later["pareto"] for later in above)
            marker = markers[backends[index]]
            _draw_point(axes, point, cost, floor, (colours[point["compression"]], marker, size))
            if ringed:
                axes.plot(point[cost], max(point["quality"], floor), "o", **_RING)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    _format(grid, cost, floor, max(point["quality_high"] for point in points))
    for index, axes in enumerate(grid[: len(panels)]):
        _draw_front(axes, points, cost, floor)
        bottom = index + columns >= len(panels)
        axes.tick_params(axis="x", labelsize=8, labelbottom=bottom)
        axes.set_xlabel(axes.get_xlabel() if bottom else "")
    figure.supylabel("quality on that backend", fontsize=9.5)
    _legend(figure, colours, markers)
    return figure


def _backend(point: dict[str, Any], points: list[dict[str, Any]]) -> str:
    several = len({other["precision"] for other in points}) > 1
    return f"{point['backend']} {point['precision']}" if several else str(point["backend"])


def _coincide(one: dict[str, Any], other: dict[str, Any], cost: str) -> bool:
    near = abs(one["quality"] - other["quality"]) < 0.02 * DEPTH
    return near and abs(one[cost] - other[cost]) < 0.02 * max(one[cost], other[cost])


def _draw_front(axes: Axes, points: list[dict[str, Any]], cost: str, floor: float) -> None:
    front = sorted((p[cost], p["quality"]) for p in points if p["pareto"] and p["quality"] >= floor)
    if front:
        costs, qualities = zip(*front, strict=True)
        end = axes.get_xlim()[1]
        style: dict[str, Any] = {"color": GREY, "linewidth": 1.1, "zorder": 1}
        axes.step([*costs, end], [*qualities, qualities[-1]], where="post", **style)


def _draw_point(
    axes: Axes, point: dict[str, Any], cost: str, floor: float, look: tuple[str, str, float]
) -> None:
    colour, marker, size = look
    x, y = point[cost], point["quality"]
    if y < floor:
        axes.plot(x, floor, marker="v", color=colour, markersize=5, alpha=0.7, clip_on=False, zorder=3)
        return
    bars: dict[str, Any] = {"color": colour, "linewidth": 1, "alpha": 0.6, "zorder": 2}
    if cost == "latency_s" and point["latency_low_s"] is not None and point["latency_high_s"] is not None:
        axes.hlines(y, point["latency_low_s"], point["latency_high_s"], **bars)
    if point["seeds"] > 1:
        axes.vlines(x, max(floor, point["quality_low"]), point["quality_high"], **bars)
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.6}
    axes.plot(x, y, marker, color=colour, markersize=size, zorder=3, **edge)


def _format(grid: list[Axes], cost: str, floor: float, high: float) -> None:
    margin = 0.08 * (high - floor) or 0.01
    grid[0].set_xscale("log")
    low, top = grid[0].get_xlim()
    grid[0].set_xlim(low / 1.12, top * 1.12)
    grid[0].set_ylim(floor - margin, high + margin)
    for axes in grid:
        format_axis(axes, "x", cost, log=True)
        format_axis(axes, "y", "quality")
        axes.set_ylabel("")


def _legend(figure: Figure, colours: dict[Any, str], markers: dict[Any, str]) -> None:
    def entry(label: str, marker: str, colour: str) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, color=colour, label=shorten(label), markersize=7)

    heading = {"linestyle": "", "marker": ""}
    handles = [
        Line2D([], [], label="compression", **heading),  # type: ignore[arg-type]
        *(entry(str(name), "o", colour) for name, colour in colours.items()),
        Line2D([], [], label="backend", **heading),  # type: ignore[arg-type]
        *(entry(str(name), marker, INK) for name, marker in markers.items()),
    ]
    legend = figure.legend(handles=handles, loc="outside right upper")
    for text in legend.get_texts():
        if text.get_text() in ("compression", "backend"):
            text.set_fontweight("bold")
