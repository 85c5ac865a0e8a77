"""The recall of each class after a compression, compared with the uncompressed model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.statistics import mean_interval
from bench.analysis.summary import numbered
from reports.frames.controls import NONE
from reports.frames.view import INFER_AXES, PLACE, TRAIN_AXES, RunView, place_of, plain_list, records

_COLUMNS = (
    *(*PLACE, "compression", "class", "trainings", "seeds", "recall", "recall_uncompressed"),
    *("change_points", "change_points_low", "change_points_high"),
)


_READ = (*TRAIN_AXES.values(), *INFER_AXES.values(), "evaluate_key")
_CHOICE = (*PLACE, "compression")


def classes_table(view: RunView, inference: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each workload × backend × compression × class, averaged over optimizers and seeds.

    `change_points` is the recall less that of the uncompressed model of the same training on the same
    backend, in percentage points; its bounds are a Student interval over seeds.
    """
    ranked = inference.loc[inference["ranked"].astype(bool), list(_READ)]
    own = view.numbers(ranked["evaluate_key"].tolist())
    twins = _twins(ranked, own)
    choices, _ = numbered(ranked, _CHOICE)
    seeds, _ = numbered(ranked, ("seed",))
    first_rows = np.unique(choices, return_index=True)[1]
    groups = list(zip(*(plain_list(ranked[name].iloc[first_rows]) for name in _CHOICE), strict=True))
    found: dict[int, list[tuple[Any, ...]]] = {}
    for name in view.all_qualifiers("class_recall"):
        recall, before = (view.column("class_recall", numbers, name) for numbers in (own, twins))
        known = ~np.isnan(recall) & ~np.isnan(before)
        for choice, values in _over_trainings(choices[known], seeds[known], recall[known], before[known]):
            found.setdefault(choice, []).append((*groups[choice], name, *values))
    rows = [row for choice in sorted(found) for row in found[choice]]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _twins(ranked: pd.DataFrame, own: np.ndarray) -> np.ndarray:
    """Return for each cell the evaluation of the uncompressed one of its training and place, -1 without."""
    pair, pairs = numbered(ranked, (*TRAIN_AXES.values(), *PLACE))
    plain = (ranked["compression"] == NONE).to_numpy(dtype=bool)
    evaluated = np.full(pairs, -1)
    evaluated[pair[plain]] = own[plain]
    twins: np.ndarray = evaluated[pair]
    return twins


def _over_trainings(
    choices: np.ndarray, seeds: np.ndarray, recall: np.ndarray, before: np.ndarray
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield each choice with the values of its row: averages over trainings, of the change over seeds."""
    if not len(choices):
        return
    shape = (int(choices.max()) + 1, int(seeds.max()) + 1)
    places = np.ravel_multi_index((choices, seeds), shape)

    def sums(values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(places, values, minlength=shape[0] * shape[1]).reshape(shape)

    trainings, changes = sums(), sums(100 * (recall - before))
    recalls, earlier = (np.bincount(choices, values) for values in (recall, before))
    for choice in np.flatnonzero(trainings.any(axis=1)).tolist():
        seen = trainings[choice] > 0
        count = int(trainings[choice].sum())
        change = mean_interval((changes[choice][seen] / trainings[choice][seen]).tolist())
        averages = (float(recalls[choice] / count), float(earlier[choice] / count))
        yield choice, (count, int(seen.sum()), *averages, change.value, change.low, change.high)


def worst_classes(classes: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the row of the class that loses most, by workload, backend, precision, batch, compression."""
    worst: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in records(classes):
        key = (*place_of(row), row["compression"])
        if key not in worst or row["change_points"] < worst[key]["change_points"]:
            worst[key] = row
    return worst
