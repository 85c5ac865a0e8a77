"""All figures of a run, in the order that a report shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from reports.frames.across import across_run
from reports.frames.roofline import Roof, roofs
from reports.frames.view import RunView
from reports.plots.classes import draw_classes
from reports.plots.figure import Plot
from reports.plots.fronts import draw_fronts
from reports.plots.latency import draw_latency
from reports.plots.matrix import draw_matrix
from reports.plots.memory import draw_memory
from reports.plots.operators import draw_operators
from reports.plots.profile import draw_profile
from reports.plots.roofline import draw_roofline
from reports.plots.sensitivity import draw_sensitivities
from reports.plots.steps import draw_steps
from reports.plots.tradeoff import draw_tradeoff
from reports.plots.training import draw_curves, draw_to_target

MAX_BATCH_SIZES = 3
"""Batch sizes of a workload that are drawn: the smallest, the largest, and one between."""


def draw_all(frames: Mapping[str, pd.DataFrame], view: RunView | None = None) -> list[Plot]:
    """Draw what the frames have data for, and with the run's `view` its samples, profiles and ceilings."""
    plots: list[Plot | None] = []
    inference, training = frames["inference"], frames["training"]
    for workload in dict.fromkeys([*training["workload"], *inference["workload"]]):
        plots.append(draw_curves(frames["curves"], training, workload))
        plots.append(draw_to_target(training, workload))
        plots.append(draw_steps(frames["steps"], workload))
        plots += _served(inference, view, workload)
        plots.append(draw_classes(frames["classes"], workload))
        plots.append(draw_memory(frames["memory"], workload))
    if "sensitivity" in frames:
        plots += draw_sensitivities(frames["sensitivity"], frames["sensitivity_points"])
    if view is not None:
        plots.append(_profile(view))
    return _apart(plot for plot in plots if plot)


def _profile(view: RunView) -> Plot | None:
    """Draw the optimizers' profiles over the workloads."""
    across = across_run(view)
    return None if across is None else draw_profile(across)


def _served(inference: pd.DataFrame, view: RunView | None, workload: Any) -> Iterator[Plot | None]:
    batch_sizes = _spread(list(inference[inference["workload"] == workload]["batch_size"].unique()))
    for batch_size in batch_sizes:
        yield draw_tradeoff(inference, "latency_s", workload, batch_size)
    # One batch size says it: an artifact hardly depends on the batch it was lowered for, and the others show
    # the same picture at another scale.
    for batch_size in batch_sizes[:1]:
        yield draw_tradeoff(inference, "artifact_compressed_bytes", workload, batch_size)
        yield draw_fronts(inference, workload, batch_size, _currency(view))
        yield draw_matrix(inference, workload, batch_size)
        if view is not None:
            yield draw_roofline(inference, workload, batch_size, _only_roof(view))
            yield draw_latency(view, inference, workload, batch_size)
            yield draw_operators(view, inference, workload, batch_size)


def _spread(batch_sizes: list[Any]) -> list[Any]:
    if len(batch_sizes) <= MAX_BATCH_SIZES:
        return batch_sizes
    ordered = sorted(batch_sizes)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]]


def _currency(view: RunView | None) -> str:
    prices = view.run["request"].get("prices") if view is not None else None
    return str(prices["currency"]) if prices else ""


def _only_roof(view: RunView) -> Roof | None:
    """Return the ceilings of a run on one machine: points of several lie below different ones."""
    found = list(view.once("roofs", lambda: roofs(view)).values())
    return found[0] if len(found) == 1 else None


def _apart(plots: Iterable[Plot]) -> list[Plot]:
    """Number plots of one name: of two workloads, nothing but letters that no file's name has may differ."""
    seen: Counter[str] = Counter()
    found = []
    for plot in plots:
        seen[plot.name] += 1
        found.append(replace(plot, name=f"{plot.name}-{seen[plot.name]}") if seen[plot.name] > 1 else plot)
    return found
