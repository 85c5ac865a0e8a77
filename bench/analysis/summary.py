"""Reduces launches to one value per stage and metric, with an interval over launches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.analysis.statistics import launch_interval
from bench.metrics import metric_named

if TYPE_CHECKING:
    import pandas as pd


def undisturbed(measurements: pd.DataFrame) -> pd.DataFrame:
    """Return the good launches' rows of `Store.measurements`, less what a launch that was disturbed says
    where another, that was not, says it too."""
    good = measurements[measurements["state"] == "ok"]
    calm = good["disturbed"] == ""
    what = [good[name] for name in ("stage_key", "metric", "qualifier")]
    told = (calm & good["value"].notna()).groupby(what).transform("any").astype(bool)
    return good[calm | ~told]


def summarize(measurements: pd.DataFrame) -> pd.DataFrame:
    """Reduce `Store.measurements` to one row for each stage_key × metric × qualifier.

    Columns: stage_key, kind, label, metric, qualifier, value, low, high, launches, method, preliminary,
    reason. Launches that were disturbed, and repeated, are set aside. A sampled metric of several launches
    gets the interval over launch values; anything else keeps the value and interval of the last launch that
    has one. A timing of one launch is preliminary.
    """
    import pandas as pd

    good = undisturbed(measurements)
    groups: dict[tuple[str, str, str], list[tuple[Any, ...]]] = {}
    # Plain rows: of a group of its own pandas makes a frame, ten thousand times in a large run.
    for row in zip(*(good[name].tolist() for name in _READ), strict=True):
        groups.setdefault(row[:3], []).append(row[3:])
    rows = [_summarized(key, group) for key, group in groups.items()]
    columns = "stage_key kind label metric qualifier value low high launches method preliminary reason"
    return pd.DataFrame(rows, columns=columns.split())


_READ = (
    *("stage_key", "metric", "qualifier", "value", "low", "high"),
    *("kind", "label", "timed", "method", "reason"),
)


def _summarized(key: tuple[str, str, str], group: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the row of one stage_key × metric × qualifier, from the rest of what its launches have."""
    known = [row for row in group if row[0] is not None and row[0] == row[0]]
    value, low, high, kind, label, timed, method, reason = (known or group)[-1]
    stage_key, metric, qualifier = key
    sampled = metric_named(metric).kind == "sampled"
    found = {
        "stage_key": stage_key,
        "kind": kind,
        "label": label,
        "metric": metric,
        "qualifier": qualifier,
        "value": value,
        "low": low,
        "high": high,
        "launches": len(group),
        "method": method,
        "preliminary": sampled and bool(timed),
        "reason": reason,
    }
    if sampled and len(known) > 1:
        interval = launch_interval([row[0] for row in known])
        found |= {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "launches": interval.n,
            "method": interval.method,
            "preliminary": interval.preliminary,
        }
    return found
