"""The figure of classes: how each compression changes the recall of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bench.formatting import format_points
from reports.plots.figure import INK, Plot, render, shorten

MAX_CLASSES, MAX_ROWS = 20, 30
"""Classes and compressions that one figure shows."""

_MIN_SCALE = 1.0
"""The colour scale spans at least this many points, so that noise does not look like a loss."""


def draw_classes(classes: pd.DataFrame, workload: str) -> Plot | None:
    """Draw compressions × classes, each on the first backend that runs it; None without data."""
    own = classes[(classes["workload"] == workload) & (classes["compression"] != "none")]
    if own.empty:
        return None
    own = own[own["batch_size"] == own["batch_size"].iloc[0]]
    first = own.drop_duplicates("compression")[["compression", "backend", "precision"]]
    shown = own.merge(first, on=["compression", "backend", "precision"])
    backends = dict(zip(first["compression"], first["backend"], strict=True))
    whole = shown.pivot_table(index="compression", columns="class", values="change_points", sort=False)
    table = _most_changed(_most_changed(whole, MAX_CLASSES).T, MAX_ROWS).T
    sizes = zip(table.shape, whole.shape, ("compressions", "classes"), strict=True)
    fewer = [f"{few} of {every} {noun}" for few, every, noun in sizes if few < every]
    return render(
        f"who-pays-{workload}",
        f"Change in recall of each class: {workload}",
        "Change in recall of each class against the uncompressed model of the same training, in percentage "
        "points, averaged over trainings. Each compression on the first backend that runs it."
        + (f" Shown: the {' and '.join(fewer)} that change most." if fewer else ""),
        lambda: _figure(table, [f"{name} @ {backends[name]}" for name in table.index]),
    )


def _most_changed(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the columns with the largest changes, in their order."""
    if len(table.columns) <= most:
        return table
    kept = table.abs().max().nlargest(most).index
    return table[[name for name in table.columns if name in kept]]


def _figure(table: pd.DataFrame, labels: list[str]) -> Figure:
    values = table.to_numpy(dtype=float)
    size = (3.6 + 0.75 * len(table.columns), 1.3 + 0.34 * len(table))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    most = max(_MIN_SCALE, float(np.nanmax(np.abs(values))))
    image = axes.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(len(table.columns)), [str(name) for name in table.columns], rotation=35, ha="right")
    axes.set_yticks(range(len(labels)), [shorten(label, 48) for label in labels])
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour: dict[str, Any] = {"color": "white" if abs(value) > 0.65 * most else INK}
            axes.text(column, row, format_points(value, 1), ha="center", va="center", fontsize=8, **colour)
    figure.colorbar(image, ax=axes, label="recall change, points")
    return figure
