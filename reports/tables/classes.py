"""Who pays for a compression: the recall of each class against that of the uncompressed model."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.tables.tradeoff import NONE
from reports.view import TRAIN_AXES, RunView, records

_PLACE = ("workload", "backend", "precision", "batch_size")
_COLUMNS = (*_PLACE, "compression", "class", "trainings", "recall", "recall_uncompressed", "change_points")


def classes_table(view: RunView, inference: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each workload × backend × compression × class, averaged over optimizers and seeds.

    `change_points` is the recall less that of the uncompressed model of the same training on the same
    backend, in percentage points.
    """
    rows = [row for row in records(inference) if row["ranked"]]
    plain = {_training(row): row["evaluate_key"] for row in rows if row["compression"] == NONE}
    found: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in rows:
        reference = plain.get(_training(row))
        for name in view.qualifiers(row["evaluate_key"], "class_recall") if reference else ():
            own = view.value(row["evaluate_key"], "class_recall", name)
            before = view.value(str(reference), "class_recall", name)
            if own is not None and before is not None:
                key = (*(row[column] for column in _PLACE), row["compression"], name)
                found.setdefault(key, []).append((own, before))
    return pd.DataFrame([_row(key, pairs) for key, pairs in found.items()], columns=list(_COLUMNS))


def worst_classes(classes: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the row of the class that loses most, by workload, backend, precision, batch, compression."""
    worst: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in records(classes):
        key = tuple(row[column] for column in (*_PLACE, "compression"))
        if key not in worst or row["change_points"] < worst[key]["change_points"]:
            worst[key] = row
    return worst


def _training(row: dict[str, Any]) -> tuple[Any, ...]:
    # The place holds the workload as well as the training's axes do.
    return tuple(row[column] for column in (*TRAIN_AXES.values(), *_PLACE))


def _row(key: tuple[Any, ...], pairs: list[tuple[float, float]]) -> dict[str, Any]:
    own = sum(pair[0] for pair in pairs) / len(pairs)
    before = sum(pair[1] for pair in pairs) / len(pairs)
    values = (*key, len(pairs), own, before, 100 * (own - before))
    return dict(zip(_COLUMNS, values, strict=True))
