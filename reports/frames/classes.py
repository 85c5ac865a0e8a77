"""The recall of each class after a compression, compared with the uncompressed model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.frames.controls import NONE
from reports.frames.tradeoff import over_seeds
from reports.frames.view import INFER_AXES, PLACE, TRAIN_AXES, RunView, place_of, records, training_of

_COLUMNS = (
    *(*PLACE, "compression", "class", "trainings", "seeds", "recall", "recall_uncompressed"),
    *("change_points", "change_points_low", "change_points_high"),
)


_READ = (*TRAIN_AXES.values(), *INFER_AXES.values(), "evaluate_key")


def classes_table(view: RunView, inference: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each workload × backend × compression × class, averaged over optimizers and seeds.

    `change_points` is the recall less that of the uncompressed model of the same training on the same
    backend, in percentage points; its bounds are a Student interval over seeds.
    """
    rows = records(inference, _READ, inference["ranked"])
    plain = {_group(row): row["evaluate_key"] for row in rows if row["compression"] == NONE}
    found: dict[tuple[Any, ...], dict[str, list[tuple[Any, float, float]]]] = {}
    by_class: dict[str, Mapping[str, float | None]] = {}
    for row in rows:
        key, reference = row["evaluate_key"], plain.get(_group(row))
        if not reference:
            continue
        recalls = found.setdefault((*place_of(row), row["compression"]), {})
        for name in view.qualifiers(key, "class_recall"):
            if name not in by_class:
                by_class[name] = view.values("class_recall", name)
            values = by_class[name]
            own, before = values.get(key), values.get(reference)
            if own is not None and before is not None:
                recalls.setdefault(name, []).append((row["seed"], own, before))
    table = [_row((*group, name), own) for group, recalls in found.items() for name, own in recalls.items()]
    return pd.DataFrame(table, columns=list(_COLUMNS))


def worst_classes(classes: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the row of the class that loses most, by workload, backend, precision, batch, compression."""
    worst: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in records(classes):
        key = (*place_of(row), row["compression"])
        if key not in worst or row["change_points"] < worst[key]["change_points"]:
            worst[key] = row
    return worst


def _group(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*training_of(row), *place_of(row))


def _row(key: tuple[Any, ...], recalls: list[tuple[Any, float, float]]) -> dict[str, Any]:
    seeds, own, before = zip(*recalls, strict=True)
    change = over_seeds((seed, 100 * (after - was)) for seed, after, was in recalls)
    bounds = (change.value, change.low, change.high) if change else (None, None, None)
    count = len(recalls)
    values = (*key, count, len(set(seeds)), sum(own) / count, sum(before) / count, *bounds)
    return dict(zip(_COLUMNS, values, strict=True))
