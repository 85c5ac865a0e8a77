"""The figure of the matrix: the latency of each compression on each backend, skips and failures included."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.formatting import counted, format_value, three_digits
from reports.plots.figure import GREY, INK, Plot, render, shorten
from reports.plots.served import Row, place

MAX_ROWS, MAX_COLUMNS = 40, 14
"""More compressions, or backends with a precision, nobody can read."""

_HATCHES = {"skipped": "///", "INVALID": "xx", "pending": ""}
_FAILED = "\\\\\\"
_COLOURS = "cividis_r"  # ordered by lightness alone, so that it reads the same to all


@dataclass(frozen=True)
class _Field:
    """A compression on a backend: its median latency over trainings, or why it has none."""

    text: str
    latency_s: float | None = None
    state: str = "ok"


def draw_matrix(inference: pd.DataFrame, workload: str, batch_size: Any) -> Plot | None:
    """Draw compressions × backends at one batch size; None where nothing is."""
    fields = _fields(place(inference, workload, batch_size))
    if not fields:
        return None
    rows = list(dict.fromkeys(compression for compression, _ in fields))
    columns = list(dict.fromkeys(column for _, column in fields))
    shown = (rows[:MAX_ROWS], columns[:MAX_COLUMNS])
    left_out = [
        f"{len(own)} of {counted(len(every), noun)}"
        for own, every, noun in zip(shown, (rows, columns), ("compression", "backend"), strict=True)
        if len(own) < len(every)
    ]
    return render(
        f"matrix-{workload}-batch-{batch_size}",
        f"Latency over the matrix: {workload}, batch {batch_size}",
        "Median latency over trainings, and × the speed of the uncompressed model on cpu-eager. Hatched: "
        "skipped, failed or INVALID; a share says of how many trainings."
        + (f" Shown: the first {' and '.join(left_out)}." if left_out else ""),
        lambda: _figure(fields, *shown),
    )


def _fields(rows: list[Row]) -> dict[tuple[str, str], _Field]:
    several = len({row["precision"] for row in rows}) > 1
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        column = f"{row['backend']}\n{row['precision']}" if several else str(row["backend"])
        groups.setdefault((str(row["compression"]), column), []).append(row)
    return {key: _field(members) for key, members in groups.items()}


def _field(rows: list[Row]) -> _Field:
    ranked = [row for row in rows if row["ranked"]]
    states = Counter(str(row["state"]) for row in rows if not row["ranked"])
    commonest, count = next(iter(states.most_common(1)), ("", 0))
    worst = f"{commonest} {count}/{len(rows)}" if count < len(rows) and count else commonest
    if not ranked:
        return _Field(worst, state="pending" if commonest == "ok" else commonest)
    latency_s = statistics.median(row["latency_s"] for row in ranked)
    speedups = [row["speedup"] for row in ranked if row["speedup"] is not None]
    faster = f"\n{three_digits(statistics.median(speedups))}×" if speedups else ""
    return _Field(
        format_value("latency_s", latency_s) + faster + (f"\n{worst}" if worst else ""),
        latency_s,
        commonest or "ok",
    )


def _figure(fields: dict[tuple[str, str], _Field], rows: list[str], columns: list[str]) -> Figure:
    size = (3.4 + 1.05 * len(columns), 1.5 + 0.52 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    shown = {(r, c): fields[rows[r], columns[c]] for r in range(len(rows)) for c in range(len(columns))
             if (rows[r], columns[c]) in fields}  # fmt: skip
    known = [field.latency_s for field in shown.values() if field.latency_s]
    low, high = min(known, default=1e-3), max(known, default=1.0)
    norm = LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)  # a single one is in the middle
    values = np.full((len(rows), len(columns)), np.nan)
    for spot, field in shown.items():
        values[spot] = np.nan if field.latency_s is None else field.latency_s
    image = axes.imshow(values, cmap=_COLOURS, norm=norm, aspect="auto")
    for (row, column), field in shown.items():
        _draw_field(axes, (row, column), field, norm)
    axes.grid(False)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), [shorten(row) for row in rows])
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    if known:
        bar = figure.colorbar(image, ax=axes, label="latency", format=FuncFormatter(_latency_text))
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_minor_locator(NullLocator())
    return figure


def _latency_text(value: float, _: Any) -> str:
    return format_value("latency_s", value)


def _draw_field(axes: Axes, spot: tuple[int, int], field: _Field, norm: LogNorm) -> None:
    row, column = spot
    if field.latency_s is None:
        hatch = _HATCHES.get(field.state, _FAILED)
        style: dict[str, Any] = {"facecolor": "#f2f2f2", "edgecolor": "#c4c4c4", "linewidth": 0.5}
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, hatch=hatch, **style))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9}
        axes.text(column, row, field.text, ha="center", va="center", fontsize=8, color=INK, bbox=box)
        return
    red, green, blue, _ = matplotlib.colormaps[_COLOURS](float(norm(field.latency_s)))
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    axes.text(column, row, field.text, ha="center", va="center", fontsize=7.5, color="white" if dark else INK)
    if field.state != "ok":
        corner = [(column + 0.5, row - 0.5), (column + 0.5, row - 0.2), (column + 0.35, row - 0.5)]
        axes.fill(*zip(*corner, strict=True), color=GREY if field.state == "skipped" else "#D55E00")
