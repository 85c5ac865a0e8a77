"""Figures of training: quality while it trains, and what each optimizer needed to reach the target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.metrics import METRICS
from reports.frames.training import step_flops, training_labels
from reports.frames.view import records
from reports.plots.figure import (
    DASHES,
    GREY,
    INK,
    MARKERS,
    PALETTE,
    Plot,
    assign,
    fewer,
    format_axis,
    render,
    shorten,
)

MAX_CURVES, MAX_BARS = 16, 32
"""Optimizers whose curves, and whose steps to the target, one figure shows."""

_CLOCKS = {
    "step": ("curve_step", "steps_to_target"),
    "seconds": ("curve_seconds", "time_to_target_s"),
    "flops": ("flops_to_target", "flops_to_target"),
}
"""What quality is drawn against → the metric that formats it, and the one that has it at the target."""

_STEPS_COLOUR, _SECONDS_COLOUR = PALETTE[0], PALETTE[1]


def draw_curves(curves: pd.DataFrame, training: pd.DataFrame, workload: str) -> Plot | None:
    """Draw quality against steps, seconds and, where they are counted, FLOPs of one workload.

    None without any evaluation. Of many optimizers, those that reached the target in the fewest steps.
    """
    own = curves[(curves["workload"] == workload) & curves["quality"].notna()]
    if own.empty:
        return None
    every = [row for row in records(training) if row["workload"] == workload]
    rows, shown = _quickest(every, MAX_CURVES)
    own = own[own["train_key"].isin([row["train_key"] for row in rows])]
    own = own.assign(flops=own["step"] * own["train_key"].map(_step_flops(rows)))
    return render(
        f"training-curves-{workload}",
        f"Quality while training: {workload}",
        "One line for each seed. The dashed line is the target; a dot marks where it came to hold."
        + (" FLOPs are of forward, backward and optimizer." if own["flops"].notna().any() else "")
        + shown,
        lambda: _curves_figure(own, rows),
    )


def _quickest(rows: list[dict[str, Any]], most: int) -> tuple[list[dict[str, Any]], str]:
    """Return the trainings of at most so many optimizers, and a sentence on those left out, if any are."""
    names = training_labels(rows, rows)
    ordered = sorted(dict.fromkeys(names), key=_sorting(rows, names))
    if len(ordered) <= most:
        return rows, ""
    kept = set(ordered[:most])
    shown = [row for row, name in zip(rows, names, strict=True) if name in kept]
    return shown, fewer(most, len(ordered), "optimizers", "quickest to the target, in steps,")


def _step_flops(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the FLOPs of a step by the training's key, where each of its parts is counted, and whole."""
    known = {row["train_key"]: step_flops(row) for row in rows if not row["flops_incomplete"]}
    return {key: flops for key, flops in known.items() if flops is not None}


def _curves_figure(curves: pd.DataFrame, rows: list[dict[str, Any]]) -> Figure:
    clocks = [clock for clock in _CLOCKS if curves[clock].notna().any()] or ["step"]
    figure = Figure(figsize=(4.2 * len(clocks) + 2.4, 4.2), layout="constrained")
    panels = figure.subplots(1, len(clocks), sharey=True, squeeze=False)[0]
    names = training_labels(rows, rows)
    colours, dashes = assign(names, PALETTE), dict(zip(dict.fromkeys(names), _dashes(names), strict=True))
    drawn: dict[str, Line2D] = {}
    by_training = dict(iter(curves.groupby("train_key", sort=False)))
    for row, name in zip(rows, names, strict=True):
        curve = by_training.get(row["train_key"], curves.iloc[:0])
        for axes, column in zip(panels, clocks, strict=True):
            reached = _CLOCKS[column][1]
            known = curve[curve[column].notna()]
            style: dict[str, Any] = {"color": colours[name], "linestyle": dashes[name]}
            (line,) = axes.plot(known[column], known["quality"], linewidth=1.6, **style)
            drawn.setdefault(name, line)
            _mark_reached(axes, known, column, row[reached], colours[name])
    for axes, clock in zip(panels, clocks, strict=True):
        axes.set_xlim(left=0)
        format_axis(axes, "x", _CLOCKS[clock][0])
        axes.xaxis.set_major_locator(MaxNLocator(5))
    panels[-1].set_xlabel("FLOPs" if clocks[-1] == "flops" else panels[-1].get_xlabel())
    format_axis(panels[0], "y", "curve_quality")
    panels[0].set_ylabel(_quality_name(rows))
    panels[0].set_ylim(*_quality_range(curves, rows))
    _draw_target(tuple(panels), rows)
    names_shown = [shorten(name, 24) for name in drawn]
    figure.legend(list(drawn.values()), names_shown, loc="outside right upper")
    return figure


def _dashes(names: list[str]) -> list[str]:
    return [DASHES[index // len(PALETTE) % len(DASHES)] for index, _ in enumerate(dict.fromkeys(names))]


def _mark_reached(axes: Axes, curve: pd.DataFrame, column: str, value: float | None, colour: str) -> None:
    if value is None or curve.empty:
        return
    quality = np.interp(value, curve[column], curve["quality"])  # between evaluations, as the value is
    axes.plot(value, quality, "o", color=colour, markersize=6, markeredgecolor="white")


def _quality_name(rows: list[dict[str, Any]]) -> str:
    metric = METRICS.get(str(rows[0]["quality_metric"]))
    return f"{metric.label if metric else 'quality'} in validation"


def _quality_range(curves: pd.DataFrame, rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Cut off the first, bad evaluations, so that the part near the target is readable."""
    quality = curves["quality"]
    targets = [row["target"] for row in rows if row["target"] is not None]
    high = max([float(quality.max()), *targets])
    ends = [float(end) for end in curves.groupby("train_key")["quality"].last()]
    shown = [max(end - 0.1, high - 0.5) for end in ends]
    low = min([max(float(quality.min()), high - 0.25), *shown, *targets])
    margin = 0.04 * (high - low) or 0.01
    return low - margin, high + margin


def _draw_target(panels: tuple[Axes, ...], rows: list[dict[str, Any]]) -> None:
    for target in sorted({row["target"] for row in rows if row["target"] is not None}):
        for axes in panels:
            axes.axhline(target, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        panels[0].annotate(
            f"target {100 * target:g} %",
            (0, target),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=8.5,
        )


def draw_to_target(training: pd.DataFrame, workload: str) -> Plot | None:
    """Draw steps and seconds to the target for each optimizer; None where nothing was trained."""
    every = [row for row in records(training) if row["workload"] == workload and row["state"] != "pending"]
    if not every:
        return None
    rows, shown = _quickest(every, MAX_BARS)
    return render(
        f"time-to-target-{workload}",
        f"Steps and time to the target: {workload}",
        "One mark for each seed. Hollow triangles are censored: the target was not held by the end of the "
        "budget, so the true value lies further right. A cross is a training that failed." + shown,
        lambda: _to_target_figure(rows),
    )


def _to_target_figure(rows: list[dict[str, Any]]) -> Figure:
    names = training_labels(rows, rows)
    order = {
        name: place for place, name in enumerate(sorted(dict.fromkeys(names), key=_sorting(rows, names)))
    }
    figure = Figure(figsize=(10, 1.5 + 0.42 * len(order)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, name in zip(rows, names, strict=True):
        place = order[name]
        if row["state"] != "ok":
            for axes in (left, right):
                axes.plot(0, place, "x", color=INK, markersize=7, clip_on=False, zorder=4)
                axes.annotate(row["state"], (0, place), (8, -3), textcoords="offset points", fontsize=8.5)
            continue
        _mark(left, row["steps_to_target"], row["steps_trained"], place, _STEPS_COLOUR, "o")
        _mark(right, row["time_to_target_s"], row["training_s"], place - 0.12, _SECONDS_COLOUR, "o")
        _mark(right, row["time_to_target_by_steps_s"], None, place + 0.12, _STEPS_COLOUR, "D")
    left.set_yticks(list(order.values()), [shorten(name) for name in order])
    left.set_ylim(len(order) - 0.5, -0.5)
    for axes, metric in ((left, "steps_to_target"), (right, "time_to_target_s")):
        axes.set_xlim(left=0)
        axes.margins(x=0.08)
        axes.autoscale(axis="x")
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        format_axis(axes, "x", metric)
    _seconds_legend(figure)
    return figure


def _sorting(rows: list[dict[str, Any]], names: list[str]) -> Any:
    def worst(name: str) -> tuple[bool, float, str]:
        steps = [r["steps_to_target"] for r, n in zip(rows, names, strict=True) if n == name]
        known = [step for step in steps if step is not None]
        return len(known) < len(steps), sum(known) / len(known) if known else 0.0, name

    return worst


def _mark(
    axes: Axes, value: float | None, censored_at: float | None, place: float, colour: str, marker: str
) -> None:
    if value is not None:
        axes.plot(value, place, marker, color=colour, markersize=7, alpha=0.85, clip_on=False)
    elif censored_at is not None:
        axes.hlines(place, 0, censored_at, color=GREY, linewidth=0.8, linestyle=":")
        style: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": colour, "clip_on": False}
        axes.plot(censored_at, place, ">", markersize=8, **style)


def _seconds_legend(figure: Figure) -> None:
    def handle(marker: str, colour: str, label: str, *, hollow: bool = False) -> Line2D:
        face = "white" if hollow else colour
        style: dict[str, Any] = {"linestyle": "", "markerfacecolor": face, "markeredgecolor": colour}
        return Line2D([], [], marker=marker, label=label, markersize=7, **style)

    handles = [
        handle(MARKERS[0], _STEPS_COLOUR, "steps"),
        handle(MARKERS[0], _SECONDS_COLOUR, "seconds clocked"),
        handle(MARKERS[3], _STEPS_COLOUR, "seconds by steps × median step time"),
        handle(">", GREY, "censored", hollow=True),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
