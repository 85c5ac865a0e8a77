"""The figure of operators: where the time of a call goes on each backend, by what its operators do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.formatting import format_value
from reports.frames.view import RunView
from reports.frames.why import operators_of
from reports.plots.figure import INK, PALETTE, Plot, fewer, format_axis, render, shorten
from reports.plots.served import Row, place, quickest, served_name

MAX_ROWS = 24

_KINDS = {
    "low": ("products in low precision", PALETTE[1]),
    "full": ("products in floats", PALETTE[0]),
    "conversion": ("conversions", PALETTE[4]),
    "call": ("dispatch and views", PALETTE[5]),
    "generated": ("generated kernels", PALETTE[2]),
    "other": ("other operators", PALETTE[3]),
}
_MIN_LABELLED = 0.07
"""A segment narrower than this share of the longest bar has no room for its share as text."""


def draw_operators(view: RunView, inference: pd.DataFrame, workload: str, batch_size: Any) -> Plot | None:
    """Draw the profiled calls of the quickest choices at one batch size; None where none was profiled."""
    rows = place(inference, workload, batch_size)
    found = [(row, _by_kind(view, row["infer_key"])) for row in quickest(rows, len(rows))]
    found = [(row, kinds) for row, kinds in found if kinds]
    if not found:
        return None
    shown = found[:MAX_ROWS]
    return render(
        f"operators-{workload}-batch-{batch_size}",
        f"Where the time of a call goes: {workload}, batch {batch_size}",
        "Bars are the time of a call by what its operators do, from a profile, which slows calls down; "
        "shares are of the bar. The black mark is the latency without a profile."
        + fewer(len(shown), len(found), "choices"),
        lambda: _figure(shown, rows),
    )


def _by_kind(view: RunView, key: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for operator in operators_of(view, key):
        found[operator.kind] = found.get(operator.kind, 0.0) + operator.seconds
    return found


def _figure(found: list[tuple[Row, dict[str, float]]], rows: list[Row]) -> Figure:
    figure = Figure(figsize=(9.4, 1.6 + 0.34 * len(found)), layout="constrained")
    axes = figure.subplots()
    longest = max(max(sum(kinds.values()), row["latency_s"]) for row, kinds in found)
    for at, (row, kinds) in enumerate(found):
        _draw_bar(axes, at, kinds, longest)
        axes.vlines(row["latency_s"], at - 0.42, at + 0.42, color=INK, linewidth=1.6, zorder=3)
        end = max(sum(kinds.values()), row["latency_s"])
        text = format_value("latency_s", row["latency_s"])
        style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": INK, "va": "center"}
        axes.annotate(text, (end, at), (5, 0), **style)
    axes.set_xlim(0, 1.16 * longest)
    axes.set_yticks(range(len(found)), [shorten(served_name(row, rows), 52) for row, _ in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    format_axis(axes, "x", "latency_s")
    axes.set_xlabel("time of a call")
    used = {kind for _, kinds in found for kind in kinds}
    handles = [Patch(color=colour, label=name) for kind, (name, colour) in _KINDS.items() if kind in used]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw_bar(axes: Axes, at: int, kinds: Mapping[str, float], longest: float) -> None:
    end, whole = 0.0, sum(kinds.values())
    for kind, (_, colour) in _KINDS.items():
        seconds = kinds.get(kind, 0.0)
        if seconds <= 0:
            continue
        axes.barh(at, seconds, left=end, height=0.7, color=colour, edgecolor="white", linewidth=0.6)
        if seconds > _MIN_LABELLED * longest:
            ink = "white" if kind in ("low", "full", "generated") else INK
            text = f"{100 * seconds / whole:.0f} %"
            axes.text(end + seconds / 2, at, text, ha="center", va="center", fontsize=8, color=ink)
        end += seconds
