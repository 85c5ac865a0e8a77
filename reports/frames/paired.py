"""A cell and the uncompressed one of the same training on the same backend, on the same test items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.analysis.groups import Column, GroupLoss, group_losses
from bench.analysis.paired import (
    Loss,
    Values,
    loss_of_resamples,
    loss_of_statistic,
    losses_of_shares,
)
from reports.frames.view import INFER_AXES, TRAIN_AXES, RunView, place_of, training_of

NONE = "none"

PAIRED = ("cell", *TRAIN_AXES.values(), *INFER_AXES.values(), "state", "quality", "evaluate_key")
"""Columns of the table of inference that pairs are made of."""

_AT_ONCE = 2**20
"""Answers that are compared at once."""

Row = Mapping[str, Any]
Keys = tuple[str, str]
"""The evaluations of an uncompressed model, and of a compressed one."""


@dataclass(frozen=True)
class Pair:
    """A cell's row of the table of inference, that of its uncompressed twin, and both compared.

    `loss` is of the metric named by `metric`, None where nothing is kept of test items. `columns` are those
    of the test data, and `before` and `after` what each item got, in the groups' own measure.
    """

    row: Row
    twin: Row
    metric: str = ""
    loss: Loss | None = None
    groups: tuple[GroupLoss, ...] = ()
    columns: tuple[Column, ...] = ()
    before: Values = field(default_factory=lambda: np.zeros(0))
    after: Values = field(default_factory=lambda: np.zeros(0))


def pairs_of(view: RunView, rows: Sequence[Row]) -> list[Pair]:
    """Compare each measured cell with its twin; `rows` are those of the table of inference, by `records`."""
    known = [row for row in rows if row["quality"] is not None and row["state"] == "ok"]
    keyed = [((training_of(row), place_of(row)), row) for row in known]
    plain = {key: row for key, row in keyed if row["compression"] == NONE}
    both = [(row, plain[key]) for key, row in keyed if row["compression"] != NONE and key in plain]
    keys = [(str(twin["evaluate_key"]), str(row["evaluate_key"])) for row, twin in both]
    losses = _losses(view, keys)
    return [_pair(view, *pair, *loss) for pair, loss in zip(both, losses, strict=True)]


def _pair(view: RunView, row: Row, twin: Row, metric: str, loss: Loss | None) -> Pair:
    keys = (str(twin["evaluate_key"]), str(row["evaluate_key"]))
    if not view.qualifiers(keys[0], "item_group"):
        return Pair(row, twin, metric, loss)
    for name in ("item_right", "item_squared_error"):
        both = _both(view, keys, name)
        if both is None:
            continue
        shares = name == "item_right"
        before, after = both if shares else (-both[0], -both[1])
        columns = tuple(_columns(view, keys[0], len(before)))
        groups = tuple(group_losses(before, after, columns, shares=shares))
        return Pair(row, twin, metric, loss, groups, columns, before, after)
    return Pair(row, twin, metric, loss)


def _losses(view: RunView, keys: Sequence[Keys]) -> list[tuple[str, Loss | None]]:
    """Return for each pair a metric and its loss, by what is kept of items: resamples, nats or answers."""
    found = {pair: _loss(view, pair) for pair in keys}
    of_answers: dict[int, list[tuple[Keys, tuple[Values, Values]]]] = {}
    for pair, (_, loss) in found.items():
        right = _both(view, pair, "item_right") if loss is None else None
        if right is not None:
            of_answers.setdefault(len(right[0]), []).append((pair, right))
    for items, members in of_answers.items():
        at_once = max(1, _AT_ONCE // max(1, items))
        for begin in range(0, len(members), at_once):
            some = members[begin : begin + at_once]
            before, after = (np.stack([right[side] for _, right in some]) for side in (0, 1))
            for (pair, _), loss in zip(some, losses_of_shares(before, after), strict=True):
                kept = view.of_items(pair[0], "item_right")
                found[pair] = (kept[1] if kept else "", loss)
    return [found[pair] for pair in keys]


def _loss(view: RunView, keys: Keys) -> tuple[str, Loss | None]:
    """Return a metric and its loss where resamples or nats of items are kept."""
    first, second = (view.of_items(key, "resampled_quality") for key in keys)
    if first is not None and second is not None:
        qualities = [view.value(key, "resampled_quality") for key in keys]
        if qualities[0] is not None and qualities[1] is not None:
            return first[1], loss_of_resamples(qualities[0], qualities[1], (first[0], second[0]))
    nats = _both(view, keys, "item_nats")
    if nats is not None:
        return "likelihood", loss_of_statistic(*nats, lambda values: np.exp(-values.mean(axis=-1)))
    return "", None


def _both(view: RunView, keys: Keys, metric: str) -> tuple[Values, Values] | None:
    first, second = (_finite(view, key, metric) for key in keys)
    return None if first is None or second is None or len(first) != len(second) else (first, second)


def _finite(view: RunView, key: str, metric: str) -> Values | None:
    """Return what a stage kept of each test item; None where that is not finite, as a store may hold."""

    def check() -> Values | None:
        found = view.of_items(key, metric)
        return None if found is None or not np.isfinite(found[0]).all() else found[0]

    return view.once(("finite", key, metric), check)


def _columns(view: RunView, key: str, items: int) -> Iterator[Column]:
    for name in view.qualifiers(key, "item_group"):
        kept = view.of_items(key, "item_group", name)
        if kept is None or len(kept[0]) != items:
            continue
        try:
            groups = json.loads(kept[1])
        except ValueError:
            continue
        if isinstance(groups, list) and np.isin(kept[0], np.arange(len(groups))).all():
            yield Column(name, kept[0], tuple(map(str, groups)))
