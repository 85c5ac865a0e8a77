"""The figure of peak memory: a training step of each optimizer, and inference of each structure."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.frames.view import records
from reports.plots.figure import INK, PALETTE, Plot, fewer, format_axis, render, shorten

MAX_ROWS = 30
"""Training steps, and structures, that one figure shows."""

_MARKS = {
    "peak_tensor_bytes": ("o", PALETTE[0], "peak tensor memory"),
    "gpu_allocated_peak_bytes": ("^", PALETTE[2], "GPU allocator peak"),
    "rss_growth_bytes": ("D", PALETTE[4], "growth of resident memory since before the model was loaded"),
    "peak_rss_bytes": ("s", PALETTE[1], "peak resident memory, including the runtime's own code"),
}


def draw_memory(memory: pd.DataFrame, workload: str) -> Plot | None:
    """Draw the peaks of one workload's timed stages; None where none was measured."""
    rows = [
        row
        for row in records(memory)
        if row["workload"] == workload and any(row[metric] for metric in _MARKS)
    ]
    if not rows:
        return None
    shown = _largest(rows)
    return render(
        f"memory-{workload}",
        f"Peak memory: {workload}",
        "One line for each training step and each inference structure; cells of one structure share a "
        "line. The axis is logarithmic." + fewer(len(shown), len(rows), "peaks", "largest"),
        lambda: _figure(shown),
    )


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of each kind with the largest peaks, in their order."""
    kept: list[int] = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        places = [place for place, row in enumerate(rows) if row["kind"] == kind]
        places.sort(key=lambda place: -max(rows[place][metric] or 0.0 for metric in _MARKS))
        kept += places[:MAX_ROWS]
    return [rows[place] for place in sorted(kept)]


def _figure(rows: list[dict[str, Any]]) -> Figure:
    groups = [
        (title, [row for row in rows if row["kind"] == kind])
        for kind, title in (("step", "training step"), ("infer", "inference"))
    ]
    groups = [(title, members) for title, members in groups if members]
    heights = [len(members) + 0.8 for _, members in groups]
    figure = Figure(figsize=(10, 1.4 + 0.27 * sum(heights)), layout="constrained")
    panels = figure.subplots(
        len(groups), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    ).flat
    for axes, (title, members) in zip(panels, groups, strict=True):
        axes.set_title(title)
        _draw_rows(axes, members)
    panels[0].set_xscale("log", base=2)
    axes = panels[len(groups) - 1]
    format_axis(axes, "x", "peak_tensor_bytes")
    axes.set_xlabel("peak memory")
    used = [mark for metric, mark in _MARKS.items() if any(row[metric] for row in rows)]
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, label=label)
        for marker, colour, label in used
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _draw_rows(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for place, row in enumerate(rows):
        for metric, (marker, colour, _) in _MARKS.items():
            if row[metric]:
                axes.plot(row[metric], place, marker, color=colour, markersize=6.5, alpha=0.9)
    axes.set_yticks(range(len(rows)), [_label(row, rows) for row in rows], fontsize=8.5, color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _label(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    varying = [
        str(row[column])
        for column in ("precision", "batch_size")
        if len({other[column] for other in rows}) > 1
    ]
    if row["kind"] == "step":
        backends = [row["backend"]] if len({other["backend"] for other in rows}) > 1 else []
        return shorten(" ".join([str(row["optimizer"]), *backends, *varying]), 44)
    return shorten(" ".join([str(row["backend"]), *varying]) + " · " + str(row["compressions"]), 56)
