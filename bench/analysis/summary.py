"""Reduces launches to one value per stage and metric, with an interval over launches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.statistics import launch_interval
from bench.metrics import metric_named

if TYPE_CHECKING:
    import pandas as pd

_WHAT = ("stage_key", "metric", "qualifier")
_LARGEST = 2**62


def undisturbed(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the good launches' rows of `Store.measurements`, less what a launch that was disturbed says
    where another, that was not, says it too."""
    ok = measurements["state"] == "ok"
    good = measurements if ok.all() else measurements[ok]
    calm = good["disturbed"] == ""
    if calm.all():
        return good
    group, groups = numbered(good, _WHAT)
    told = np.zeros(groups, dtype=bool)
    told[group[(calm & good["value"].notna()).to_numpy(dtype=bool)]] = True
    return good[calm.to_numpy(dtype=bool) | ~told[group]]


def summarize(measurements: pd.DataFrame) -> pd.DataFrame:
    """Reduce `Store.measurements` to one row for each stage_key × metric × qualifier.

    Columns: stage_key, kind, label, metric, qualifier, value, low, high, launches, method, preliminary,
    reason. Launches that were disturbed, and repeated, are set aside. A sampled metric of several launches
    gets the interval over launch values; anything else keeps the value and interval of the last launch that
    has one. A timing of one launch is preliminary.
    """
    good = undisturbed(measurements)
    group, groups = numbered(good, _WHAT)
    known = np.flatnonzero(good["value"].notna())
    last = np.zeros(groups, dtype=int)
    last[group] = np.arange(len(good))  # of equal indices the last is kept
    last[group[known]] = known
    found = good[list(_READ)].iloc[last].reset_index(drop=True)
    sampled = found["metric"].isin([name for name in found["metric"].unique() if _is_sampled(name)])
    found = found.assign(
        launches=np.bincount(group, minlength=groups),
        preliminary=sampled & found["timed"].astype(bool),
        **{name: found[name].astype(float) for name in ("value", "low", "high")},
    )
    values = good["value"].to_numpy(dtype=float)
    _set_intervals(found, values[known], group[known], sampled.to_numpy(dtype=bool))
    return found[list(_COLUMNS)]


_READ = (*_WHAT, "kind", "label", "timed", "value", "low", "high", "method", "reason")
_COLUMNS = (
    *("stage_key", "kind", "label", "metric", "qualifier", "value", "low", "high", "launches", "method"),
    *("preliminary", "reason"),
)


def numbered(rows: pd.DataFrame, columns: Iterable[str]) -> tuple[np.ndarray, int]:
    """Number groups of rows with equal values in these columns, (rows,), in the order that groups come.

    Returns how many there are too. What is unknown is equal to what is unknown.
    """
    import pandas as pd

    numbers, most = np.zeros(len(rows), dtype=np.int64), 1
    for name in columns:
        own, values = pd.factorize(rows[name])
        if most > _LARGEST // (len(values) + 1):
            numbers, distinct = pd.factorize(numbers)
            most = len(distinct)
        numbers = numbers * (len(values) + 1) + own + 1
        most *= len(values) + 1
    group, distinct = pd.factorize(numbers)
    return group, len(distinct)


def _is_sampled(metric: str) -> bool:
    return metric_named(metric).kind == "sampled"


def _set_intervals(found: pd.DataFrame, values: np.ndarray, group: np.ndarray, sampled: np.ndarray) -> None:
    """Put the interval over launches into the rows of what several launches sampled, in place."""
    import pandas as pd

    counts = np.bincount(group, minlength=len(found))
    rows = np.flatnonzero(sampled & (counts > 1))
    order, ends = np.argsort(group, kind="stable"), np.cumsum(counts)
    intervals = [launch_interval(values[order[ends[row] - counts[row] : ends[row]]].tolist()) for row in rows]
    if not intervals:
        return
    for name, own in (
        *((bound, [getattr(each, bound) for each in intervals]) for bound in ("value", "low", "high")),
        ("launches", [each.n for each in intervals]),
        ("method", [each.method for each in intervals]),
        ("preliminary", [each.preliminary for each in intervals]),
    ):
        column = found[name].to_numpy(copy=True)
        column[rows] = own
        found[name] = pd.Series(column, index=found.index, dtype=found[name].dtype)
