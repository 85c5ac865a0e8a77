"""All figures of a run, in the order that a report shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd

from reports.frames.sensitivity import BATCH_SIZE, RATE
from reports.plots.classes import draw_classes
from reports.plots.figure import Plot
from reports.plots.memory import draw_memory
from reports.plots.sensitivity import draw_sensitivity
from reports.plots.steps import draw_steps
from reports.plots.tradeoff import draw_tradeoff
from reports.plots.training import draw_curves, draw_to_target


def draw_all(frames: Mapping[str, pd.DataFrame]) -> list[Plot]:
    """Draw what the frames have data for."""
    plots: list[Plot | None] = []
    inference, training = frames["inference"], frames["training"]
    for workload in dict.fromkeys([*training["workload"], *inference["workload"]]):
        plots.append(draw_curves(frames["curves"], training, workload))
        plots.append(draw_to_target(training, workload))
        plots.append(draw_steps(frames["steps"], workload))
        if "sensitivity" in frames:
            ranges, points = frames["sensitivity"], frames["sensitivity_points"]
            plots += [draw_sensitivity(ranges, points, workload, setting) for setting in (RATE, BATCH_SIZE)]
        batch_sizes = list(inference[inference["workload"] == workload]["batch_size"].unique())
        for batch_size in batch_sizes:
            plots.append(draw_tradeoff(inference, "latency_s", workload, batch_size))
        # The size of an artifact hardly depends on the batch it was lowered for: one figure says it.
        for batch_size in batch_sizes[:1]:
            plots.append(draw_tradeoff(inference, "artifact_compressed_bytes", workload, batch_size))
        plots.append(draw_classes(frames["classes"], workload))
        plots.append(draw_memory(frames["memory"], workload))
    return _apart(plot for plot in plots if plot)


def _apart(plots: Iterable[Plot]) -> list[Plot]:
    """Number plots of one name: of two workloads, nothing but letters that no file's name has may differ."""
    seen: Counter[str] = Counter()
    found = []
    for plot in plots:
        seen[plot.name] += 1
        found.append(replace(plot, name=f"{plot.name}-{seen[plot.name]}") if seen[plot.name] > 1 else plot)
    return found
