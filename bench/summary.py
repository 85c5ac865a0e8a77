"""From launches to one value for each stage and metric, with the interval that launches support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.metrics import PRIMARY, metric_named
from bench.statistics import launch_interval

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

    rows: list[dict[str, Any]] = []
    good = undisturbed(measurements)
    for (stage_key, metric, qualifier), group in good.groupby(
        ["stage_key", "metric", "qualifier"], sort=False
    ):
        known = group[group["value"].notna()]
        last = (known if len(known) else group).iloc[-1]
        sampled = metric_named(str(metric)).kind == "sampled"
        row = {
            "stage_key": stage_key,
            "kind": last["kind"],
            "label": last["label"],
            "metric": metric,
            "qualifier": qualifier,
            "value": last["value"],
            "low": last["low"],
            "high": last["high"],
            "launches": len(group),
            "method": last["method"],
            "preliminary": sampled and last["kind"] in PRIMARY,
            "reason": last["reason"],
        }
        if sampled and len(known) > 1:
            interval = launch_interval(known["value"].tolist())
            row |= {
                "value": interval.value,
                "low": interval.low,
                "high": interval.high,
                "launches": interval.n,
                "method": interval.method,
                "preliminary": interval.preliminary,
            }
        rows.append(row)
    columns = "stage_key kind label metric qualifier value low high launches method preliminary reason"
    return pd.DataFrame(rows, columns=columns.split())
