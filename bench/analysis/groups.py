"""Groups of test items before and after a change of the model: which of them lose quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bench.analysis.paired import Loss, Values, false_discovery_rates, loss_of_means, loss_of_shares

FALSE_DISCOVERIES = 0.05
"""Of the groups that are said to lose, at most this share do not, on average (Benjamini & Hochberg 1995)."""

MIN_ITEMS = 10
"""Smaller groups are shown but not tested: they would only cost the others power."""


@dataclass(frozen=True)
class GroupLoss:
    """A group of a column, as a class: its items, its quality before and after, and what it loses.

    `q` is its p among those of all groups that were tested together, None where it was not tested.
    """

    column: str
    group: str
    before: float
    after: float
    loss: Loss
    q: float | None = None

    @property
    def flagged(self) -> bool:
        """Whether the group loses quality by more than chance explains."""
        return self.q is not None and self.q <= FALSE_DISCOVERIES and self.loss.value > 0


@dataclass(frozen=True)
class Column:
    """A column of the test data: the number of each item's group (items,), and the groups' names."""

    name: str
    numbers: Values
    groups: tuple[str, ...]


def group_losses(
    before: Values, after: Values, columns: Sequence[Column], *, shares: bool = True
) -> list[GroupLoss]:
    """Compare each group of each column before and after, all tested together.

    `before` and `after` (items,) are shares of right answers, or, where they are no `shares`, other values of
    which more is better. False discoveries are controlled over all groups of all columns.
    """
    compare = loss_of_shares if shares else loss_of_means
    found = []
    for column in columns:
        for number, name in enumerate(column.groups):
            own = column.numbers == number
            if own.any():
                loss = compare(before[own], after[own])
                means = (float(before[own].mean()), float(after[own].mean()))
                found.append(GroupLoss(column.name, name, *means, loss))
    tested = [place for place, group in enumerate(found) if _is_tested(group)]
    rates = false_discovery_rates([float(found[place].loss.p or 0.0) for place in tested])
    for place, rate in zip(tested, rates, strict=True):
        found[place] = replace(found[place], q=rate)
    return found


def worst_group(groups: Sequence[GroupLoss]) -> GroupLoss | None:
    """Return the group that loses most: of flagged ones, else of those that were tested; None without one."""
    tested = [group for group in groups if group.q is not None]
    flagged = [group for group in tested if group.flagged]
    return max(flagged or tested, key=lambda group: group.loss.value, default=None)


def _is_tested(group: GroupLoss) -> bool:
    return (group.loss.items or 0) >= MIN_ITEMS and group.loss.p is not None


def gaps_between_groups(values: Sequence[Values], column: Column) -> list[float] | None:
    """Return the best group's mean less the worst one's, for each of several values of the same items.

    By fairlearn's MetricFrame; None where fairlearn is not installed.
    """
    try:
        from fairlearn.metrics import MetricFrame
    except ImportError:
        return None
    items = np.arange(len(column.numbers))
    # One frame for all: making one takes longer than its means.
    frame = MetricFrame(
        metrics={f"{place}": partial(_mean_of, own) for place, own in enumerate(values)},
        y_true=items,
        y_pred=items,
        sensitive_features=np.asarray(column.groups, dtype=object)[column.numbers.astype(int)],
    )
    gaps = frame.difference(method="between_groups")
    return [float(gaps[f"{place}"]) for place in range(len(values))]


def _mean_of(values: Values, _: object, items: np.ndarray) -> float:
    return float(values[np.asarray(items)].mean())
