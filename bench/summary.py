"""From launches to one value for each stage and metric, with the interval that launches support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.metrics import METRICS
from bench.statistics import launch_interval

if TYPE_CHECKING:
    import pandas as pd


def summarize(measurements: pd.DataFrame) -> pd.DataFrame:
    """Reduce `Store.measurements` to one row for each stage_key × metric × qualifier.

    Columns: stage_key, kind, label, metric, qualifier, value, low, high, launches, method, preliminary,
    reason. A sampled metric of several launches gets the interval over launch values; anything else keeps
    the last launch's value and interval.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    good = measurements[measurements["state"] == "ok"]
    for (stage_key, metric, qualifier), group in good.groupby(
        ["stage_key", "metric", "qualifier"], sort=False
    ):
        last = group.iloc[-1]
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
            "preliminary": False,
            "reason": last["reason"],
        }
        values = group["value"].dropna()
        if METRICS[str(metric)].kind == "sampled" and len(values) > 1:
            interval = launch_interval(values.tolist())
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
