"""What the page draws, as columns of numbers: points of quality and cost, curves, parts, the matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.formatting import visible
from reports.content import Content
from reports.frames.choices import LATENCY
from reports.frames.pareto import front_of
from reports.frames.steps import MEMORY, PARTS
from reports.frames.training import step_flops, training_label
from reports.frames.view import RunView, records
from reports.page.charts_of_optimizers import profile_data, sensitivity_data
from reports.page.numbers import coded, rounded
from reports.page.records import SHORT_KEY, keys_of_point

MAX_POINTS = 2000
"""Points of quality and latency: of more, the front and the fastest of each group are drawn."""

_MAX_TRAININGS, _MAX_OF_WORKLOAD = 120, 24
_MAX_OF_CURVE = 200
_MAX_BARS, _MAX_CLASSES = 200, 1500
_MAX_CELLS = 5000

_POINT_AXES = ("workload", "optimizer", "compression", "backend", "precision", "batch_size")
_POINT_NUMBERS = {
    **{"latency": "latency_s", "low": "latency_low_s", "high": "latency_high_s"},
    **{"quality": "quality", "quality_low": "quality_low", "quality_high": "quality_high"},
    **{"loss": "quality_loss_points", "speedup": "speedup"},
}
_COSTS = {
    **{"latency": "latency_s", "size": "artifact_compressed_bytes", "memory": "peak_rss_bytes"},
    **{"energy": "energy", "money": "money_per_million"},
}
"""What quality is drawn against → the column of a point that has it."""
_OF_CELLS = {
    **{"p90": "latency_p90_s", "p99": "latency_p99_s"},
    **{"intensity": "operations_per_byte", "rate": "achieved_operations_per_s"},
}

_ENERGIES = ("energy_j", "energy_estimate_j")

Row = Mapping[str, Any]


def charts_data(content: Content) -> dict[str, Any]:
    """Return the data of every chart by name; only those that a run has data for."""
    if content.view.smoke:
        return {}
    frames = content.frames
    found = {
        "points": _points(content),
        "curves": _curves(frames),
        "target": _target(frames["training"]),
        "matrix": _matrix(frames["inference"]),
        "parts": _parts(frames["steps"]),
        "memory": _memory(frames["memory"]),
        "classes": _classes(frames["classes"]),
        "ceilings": _ceilings(content.view),
        # Of the largest runs scores take as long as figures do.
        "profile": [] if content.left_out else profile_data(content.view),
        "sensitivity": sensitivity_data(frames),
    }
    return {name: data for name, data in found.items() if data}


def columns_of(rows: Sequence[Row], texts: Iterable[str], numbers: Mapping[str, str]) -> dict[str, Any]:
    """Return rows as columns: texts as `coded`, numbers rounded under their names on the page."""
    return {
        "rows": len(rows),
        "texts": {name: coded([visible(str(row[name])) for row in rows]) for name in texts},
        "numbers": {name: [rounded(row[column]) for row in rows] for name, column in numbers.items()},
    }


def _points(content: Content) -> dict[str, Any]:
    """Return ways to serve, averaged over seeds, and the Pareto front of quality and each known cost.

    Energy is an estimate only where nothing was measured.
    """
    every = [
        point for chosen in content.choices for serving in chosen.serving for point in serving.points[LATENCY]
    ]
    if not every:
        return {}
    measured, estimated = (any(point[name] is not None for point in every) for name in _ENERGIES)
    energy = _ENERGIES[estimated and not measured]
    every = [{**point, "energy": point[energy]} for point in every]
    points = every if len(every) <= MAX_POINTS else _fastest(every)
    inference = content.frames["inference"]
    names = ["infer_key", *_OF_CELLS.values()]
    cells = {row["infer_key"]: row for row in records(inference, names)}
    rows = [{**point, **{column: cells[point["infer_key"]][column] for column in names}} for point in points]
    known = [name for name, column in _COSTS.items() if any(point[column] for point in points)]
    return columns_of(rows, _POINT_AXES, _POINT_NUMBERS | _COSTS | _OF_CELLS) | {
        "front": {name: sorted(front_of(points, _COSTS[name])) for name in known},
        "estimated": energy != _ENERGIES[0],
        "currency": visible(str((content.view.run["request"].get("prices") or {}).get("currency", ""))),
        "key": [keys_of_point(content.view, point) for point in points],
        "total": len(every),
    }


def _fastest(points: Sequence[Row]) -> list[Row]:
    """Return the front, and the fastest of what differs in no more than how it was trained."""
    found: dict[tuple[Any, ...], Row] = {}
    axes = [name for name in _POINT_AXES if name != "optimizer"]
    for point in points:
        group = tuple(point[name] for name in axes)
        if group not in found or point[LATENCY] < found[group][LATENCY]:
            found[group] = point
    kept = {id(point) for point in found.values()}
    front = [point for point in points if point["pareto"]]
    others = [point for point in points if not point["pareto"] and id(point) in kept]
    return [*front, *others][:MAX_POINTS]


def _curves(frames: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Return the curves of trainings: steps, seconds, FLOPs, loss and quality in validation."""
    curves, training = frames["curves"], frames["training"]
    if curves.empty:
        return []
    rows = [row for row in records(training) if row["train_key"]]
    by_key = {row["train_key"]: row for row in rows}
    drawn: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    for key, own in curves.groupby("train_key", sort=False):
        row = by_key.get(key)
        if row is None or len(found) == _MAX_TRAININGS or drawn[row["workload"]] == _MAX_OF_WORKLOAD:
            continue
        drawn[row["workload"]] += 1
        every = max(1, -(-len(own) // _MAX_OF_CURVE))
        flops = None if row["flops_incomplete"] else step_flops(row)
        found.append(
            {
                **{name: visible(str(row[name])) for name in ("workload", "optimizer", "seed")},
                "target": rounded(row["target"]),
                "metric": row["quality_metric"],
                "flops": rounded(flops),
                "key": str(key)[:SHORT_KEY],
                **{
                    name: [rounded(value) for value in _thinned(own[name].tolist(), every)]
                    for name in ("step", "seconds", "quality", "loss")
                    if name in own
                },
            }
        )
    return found


def _thinned(values: list[Any], every: int) -> list[Any]:
    """Return every so-many-th value, and the last one, which a training ended with."""
    return values[::every] + (values[-1:] if (len(values) - 1) % every else [])


def _target(training: pd.DataFrame) -> dict[str, Any]:
    """Return the time to target of each seed; of those that missed it, what they trained."""
    rows = []
    every = records(training)
    labels: dict[str, list[dict[str, Any]]] = {}
    for row in every:
        labels.setdefault(row["workload"], []).append(row)
    for row in every[:MAX_POINTS]:
        time_s = row["time_to_target_by_steps_s"] or row["time_to_target_s"]
        spent_s = time_s if time_s is not None else row["training_s"]
        if spent_s is not None:
            label = training_label(row, labels[row["workload"]])
            steps = row["steps_to_target"] or row["steps_trained"]
            missed = float(time_s is None)
            rows.append({**row, "label": label, "spent_s": spent_s, "steps": steps, "missed": missed})
    if not rows:
        return {}
    numbers = {"time": "spent_s", "steps": "steps", "missed": "missed"}
    found = columns_of(rows, ("workload", "optimizer", "label", "seed"), numbers)
    return found | {"key": [str(row["train_key"] or "")[:SHORT_KEY] for row in rows]}


def _matrix(inference: pd.DataFrame) -> dict[str, Any]:
    """Return how many cells of each compression on each backend are in each state, and the best speedup.

    `worst` is the commonest state of those that are not ok, empty where all are.
    """
    places = ("workload", "compression", "backend", "precision", "batch_size")
    columns = (inference[name].tolist() for name in (*places, "state", "speedup"))
    groups: dict[tuple[str, ...], list[tuple[str, float | None]]] = {}
    for *place, state, speedup in zip(*columns, strict=True):
        groups.setdefault(tuple(map(str, place)), []).append((str(state), rounded(speedup)))
    rows = []
    for group, cells in list(groups.items())[:_MAX_CELLS]:
        states = Counter(state for state, _ in cells).most_common()
        known = [speedup for _, speedup in cells if speedup is not None]
        rows.append(
            {
                **dict(zip(places, group, strict=True)),
                "states": ", ".join(f"{count:,} {state}" for state, count in states),
                "worst": next((state for state, _ in states if state != "ok"), ""),
                "speedup": max(known) if known else None,
            }
        )
    return columns_of(rows, (*places, "states", "worst"), {"speedup": "speedup"}) if rows else {}


def _parts(steps: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the seconds of each part of a step of each optimizer."""
    found = []
    for row in records(steps)[:_MAX_BARS]:
        for part in PARTS:
            if row[f"{part}_s"] is not None:
                found.append(_bar(row, part, rounded(row[f"{part}_s"])))
    return found


def _memory(memory: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the bytes of each part of the peak of a training step."""
    found = []
    for row in records(memory[memory["kind"] == "step"])[:_MAX_BARS]:
        for part, column in MEMORY.items():
            if row[column] is not None:
                found.append(_bar(row, part, rounded(row[column])))
    return found


def _bar(row: Row, part: str, value: float | None) -> dict[str, Any]:
    batch = row.get("train_batch_size", row.get("batch_size"))
    return {
        **{name: visible(str(row[name])) for name in ("workload", "optimizer")},
        **{"batch": str(batch), "part": part, "value": value},
    }


def _classes(classes: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the change in recall of each class by compression, on the first backend of a workload."""
    found: list[dict[str, Any]] = []
    first: dict[str, tuple[Any, ...]] = {}
    names = ("workload", "backend", "compression", "class")
    for row in records(classes, (*names, "precision", "batch_size", "change_points")):
        place = (row["backend"], row["precision"], row["batch_size"])
        if row["compression"] == "none" or first.setdefault(row["workload"], place) != place:
            continue
        found.append(
            {name: visible(str(row[name])) for name in names} | {"change": rounded(row["change_points"])}
        )
        if len(found) == _MAX_CLASSES:
            break
    return found


def _ceilings(view: RunView) -> list[dict[str, Any]]:
    """Return what the processor does at most: operations by number format, and bytes, each in a second."""
    found = []
    bytes_per_s = view.ceiling("cpu", "ceiling_bytes_per_s")
    key = view.ceilings("cpu")
    for name in view.qualifiers(key, "ceiling_operations_per_s"):
        peak = view.value(key, "ceiling_operations_per_s", name)
        if peak and bytes_per_s:
            found.append({"format": name, "rate": rounded(peak), "bytes": rounded(bytes_per_s)})
    return found
