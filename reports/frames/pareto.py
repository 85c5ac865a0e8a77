"""What a choice costs and gives: cells averaged over seeds, and the front that nothing beats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.statistics import pareto_front
from bench.analysis.summary import numbered
from reports.frames.view import INFER_AXES, TRAIN_AXES, plain_list

POINT_AXES = tuple(
    column for column in (*TRAIN_AXES.values(), *INFER_AXES.values(), "machine") if column != "seed"
)

_MEASURED = (
    "quality",
    "quality_loss_points",
    "latency_s",
    "latency_low_s",
    "latency_high_s",
    "speedup",
    "artifact_compressed_bytes",
    "artifact_bytes",
    "money_per_million",
    "peak_rss_bytes",
    "energy_j",
    "energy_estimate_j",
)
_OF_CELLS = ("cell", "infer_key", "quality", "latency_preliminary")

_POINT: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*POINT_AXES)

Point = dict[str, Any]


def point_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a row's choice is, all but the seed."""
    return _POINT(row)


def ranked_points(inference: pd.DataFrame, cost: str) -> list[Point]:
    """Average ranked cells over seeds, and mark the Pareto front of `cost` against quality.

    What costs nothing was not measured, and has no place on a logarithmic axis. A front is drawn within one
    workload, batch size and machine. Returns a dictionary for each point: its axes, the means of what was
    measured, `quality_low` and `quality_high` over seeds, `seeds`, `preliminary`, `pareto`.
    """
    return points_by_cost(inference, (cost,))[cost]


def points_by_cost(inference: pd.DataFrame, costs: Sequence[str]) -> dict[str, list[Point]]:
    """Return the `ranked_points` of each of several costs: cells that have all of them are averaged once."""
    measured = tuple(dict.fromkeys((*_MEASURED, *costs)))
    names = list(dict.fromkeys((*POINT_AXES, *measured, *_OF_CELLS)))
    ranked = inference.loc[inference["ranked"].to_numpy(dtype=bool), names]
    averages: dict[bytes, list[Point]] = {}
    found = {}
    for cost in costs:
        kept = ranked[cost].to_numpy(dtype=float, na_value=np.nan) > 0
        same = kept.tobytes()
        if same not in averages:
            averages[same] = _averages(ranked[kept], measured)
        found[cost] = _with_fronts([dict(point) for point in averages[same]], cost)
    return found


def _with_fronts(points: list[Point], cost: str) -> list[Point]:
    on_front = front_of(points, cost)
    for place, point in enumerate(points):
        point["pareto"] = place in on_front
    return points


def front_of(points: Sequence[Mapping[str, Any]], cost: str) -> set[int]:
    """Return the places of the points on the front of `cost` against quality, of those that know it."""
    fronts: dict[tuple[Any, ...], list[int]] = {}
    for place, point in enumerate(points):
        if point[cost] is not None and point[cost] > 0:
            where = (point["workload"], point["batch_size"], point["machine"])
            fronts.setdefault(where, []).append(place)
    found: set[int] = set()
    for members in fronts.values():
        flags = pareto_front([points[at][cost] for at in members], [points[at]["quality"] for at in members])
        found.update(at for at, flag in zip(members, flags, strict=True) if flag)
    return found


def _averages(cells: pd.DataFrame, measured: Sequence[str]) -> list[Point]:
    """Average cells that differ in nothing but the seed, by columns: a large run has tens of thousands."""
    group, count = numbered(cells, POINT_AXES)
    if not count:
        return []
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(count))
    firsts = cells.iloc[order[starts]]
    columns = {name: plain_list(firsts[name]) for name in (*POINT_AXES, "infer_key")}
    for name in measured:
        columns[name] = _means(cells[name].to_numpy(dtype=float, na_value=np.nan), group, count)
    quality = cells["quality"].to_numpy(dtype=float)[order]
    columns["quality_low"] = np.minimum.reduceat(quality, starts).tolist()
    columns["quality_high"] = np.maximum.reduceat(quality, starts).tolist()
    columns["seeds"] = np.bincount(group, minlength=count).tolist()
    preliminary = cells["latency_preliminary"].to_numpy(dtype=bool)[order]
    columns["preliminary"] = np.logical_or.reduceat(preliminary, starts).tolist()
    keys, names = (cells[name].to_numpy()[order].tolist() for name in ("infer_key", "cell"))
    ends = [*starts[1:].tolist(), len(order)]
    spans = [slice(*span) for span in zip(starts.tolist(), ends, strict=True)]
    columns["infer_keys"] = [set(keys[span]) for span in spans]
    columns["cells"] = [names[span] for span in spans]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _means(values: np.ndarray, group: np.ndarray, count: int) -> list[float | None]:
    """Return the means of what is known of each group, None of nothing."""
    known = ~np.isnan(values)
    counts = np.bincount(group[known], minlength=count)
    sums = np.bincount(group[known], weights=values[known], minlength=count)
    means = sums / np.maximum(counts, 1)
    return [mean if number else None for mean, number in zip(means.tolist(), counts.tolist(), strict=True)]
