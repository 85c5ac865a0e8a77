"""The performance profile: on which share of workloads each optimizer is within so many times the best."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.analysis.profiles import MAX_RATIO
from reports.frames.across import Across
from reports.frames.view import records
from reports.plots.figure import DASHES, PALETTE, Plot, assign, fewer, render, shorten

MAX_LINES = 10
"""Optimizers of one figure: on few workloads their lines lie on few levels, and hide each other."""


def draw_profile(across: Across) -> Plot | None:
    """Draw the profiles of the best optimizers by score, and the baseline's; None where there are none."""
    if across.profile.empty:
        return None
    every = records(across.table)
    rows = [
        row for place, row in enumerate(every) if place < MAX_LINES or row["optimizer"] == row["baseline"]
    ]
    measure, workloads = rows[0]["measure"], rows[0]["workloads"]
    return render(
        "performance-profile",
        f"Performance profile: {measure} to the target on {workloads} workloads",
        f"Height: the share of workloads on which an optimizer needs at most so many times the {measure} of "
        "the best one there. The score, in the legend with its 95 % interval, is the area under the line."
        + fewer(len(rows), len(every), "optimizers", "best, the baseline included,"),
        lambda: _figure(across.profile, {row["optimizer"]: _score(row) for row in rows}, measure),
    )


def _score(row: dict[str, float]) -> str:
    return f"{row['score']:.2f} ({row['score_low']:.2f} to {row['score_high']:.2f})"


def _figure(profile: pd.DataFrame, scores: dict[str, str], measure: str) -> Figure:
    figure = Figure(figsize=(8.4, max(3.6, 0.2 * len(scores))), layout="constrained")
    axes = figure.subplots()
    colours = assign(scores, PALETTE)
    for place, (name, score) in enumerate(scores.items()):
        own = profile[profile["optimizer"] == name]
        axes.step(
            own["tau"],
            own["share"],
            where="post",
            color=colours[name],
            linestyle=DASHES[place // len(PALETTE) % len(DASHES)],
            linewidth=max(1.4, 3.2 - 0.3 * place),  # so that lines on top of each other are all seen
            label=f"{shorten(name, 24)}  {score}",
        )
    axes.set_xlim(1, MAX_RATIO)
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    axes.set_xlabel(f"{measure} to the target, as a multiple of the best")
    axes.set_ylabel("workloads")
    figure.legend(loc="outside right upper")
    return figure
