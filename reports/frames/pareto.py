"""What a choice costs and gives: cells averaged over seeds, and the front that nothing beats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import pandas as pd

from bench.analysis.statistics import pareto_front
from reports.frames.view import INFER_AXES, TRAIN_AXES, records

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
)


_POINT: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*POINT_AXES)
_READ = (*POINT_AXES, *_MEASURED, "ranked", "infer_key", "cell", "latency_preliminary")


def point_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a row's choice is, all but the seed."""
    return _POINT(row)


def ranked_points(inference: pd.DataFrame, cost: str) -> list[dict[str, Any]]:
    """Average ranked cells over seeds, and mark the Pareto front of `cost` against quality.

    What costs nothing was not measured, and has no place on a logarithmic axis. A front is drawn within one
    workload, batch size and machine. Returns a dictionary for each point: its axes, the means of what was
    measured, `quality_low` and `quality_high` over seeds, `seeds`, `preliminary`, `pareto`.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    columns = tuple(dict.fromkeys((*_READ, cost)))
    for row in records(inference, columns, inference["ranked"]):
        if row[cost] is not None and row[cost] > 0:
            groups.setdefault(point_of(row), []).append(row)
    points = [_average(rows, cost) for rows in groups.values()]
    fronts: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for point in points:
        fronts.setdefault((point["workload"], point["batch_size"], point["machine"]), []).append(point)
    for members in fronts.values():
        flags = pareto_front([p[cost] for p in members], [p["quality"] for p in members])
        for point, flag in zip(members, flags, strict=True):
            point["pareto"] = flag
    return points


def _average(rows: list[dict[str, Any]], cost: str) -> dict[str, Any]:
    point = {column: rows[0][column] for column in (*POINT_AXES, "infer_key")}
    for column in (*_MEASURED, cost):
        known = [row[column] for row in rows if row[column] is not None]
        point[column] = sum(known) / len(known) if known else None
    qualities = [row["quality"] for row in rows]
    point |= {"quality_low": min(qualities), "quality_high": max(qualities), "seeds": len(rows)}
    point["preliminary"] = any(row["latency_preliminary"] for row in rows)
    point["infer_keys"] = {row["infer_key"] for row in rows}
    point["cells"] = [row["cell"] for row in rows]
    return point
