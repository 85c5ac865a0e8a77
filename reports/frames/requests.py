"""Requests for texts that arrived as a Poisson process: what held the bounds, at each rate."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.frames.generation import ENDS, times_of
from reports.frames.view import RunView

TIMES = ("request_ttft", "request_ttft_p99", "request_tpot", "request_tpot_p99")
"""Times of requests, without their unit."""

_METRICS = ("arrived_per_s", "goodput_per_s", "goodput_share", "requests_in_system")
_BOUNDS = ("goodput_low", "goodput_high")
_AXES = ("workload", "backend", "precision")
_COLUMNS = (
    *("workload", "compressions", "backend", "precision", "offered_per_s", "ttft_bound_s", "tpot_bound_s"),
    *("state", "reason", *_METRICS, *_BOUNDS, *(f"{name}{end}" for name in TIMES for end in ENDS)),
    "stage_key",
)


def requests_table(view: RunView) -> pd.DataFrame:
    """Return one row for each rate of arrival, of each structure that served requests.

    `compressions` lists the recipes that run as this same structure. Intervals are over launches, of which
    each draws its arrivals.
    """
    recipes: dict[str, dict[str, None]] = {}
    axes: dict[str, dict[str, Any]] = {}
    for cell in view.cells:
        key = str(cell.stages.get("requests") or "")
        if key and not cell.skipped:
            recipes.setdefault(key, {})[str(cell.axes.get("compression"))] = None
            axes.setdefault(key, {name: cell.axes.get(name) for name in _AXES})
    rows = [
        {**axes[key], "compressions": ", ".join(names), **row}
        for key, names in recipes.items()
        for row in _rows(view, key)
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _rows(view: RunView, key: str) -> list[dict[str, Any]]:
    status, invalid = view.status(key), view.invalid(key)
    settings = view.stages[key].request.settings
    state = {
        "state": "INVALID" if invalid else status.state,
        "reason": invalid or status.reason,
        "ttft_bound_s": settings.get("ttft_s"),
        "tpot_bound_s": settings.get("tpot_s"),
        "stage_key": key,
    }
    places = sorted(view.qualifiers(key, "goodput_per_s"), key=_rate)
    if not places:
        return [state]
    return [{**state, **_at(view, key, place)} for place in places]


def _at(view: RunView, key: str, place: str) -> dict[str, Any]:
    goodput = view.reading(key, "goodput_per_s", place)
    return {
        "offered_per_s": _rate(place),
        **{name: view.value(key, name, place) for name in _METRICS},
        **dict(zip(_BOUNDS, (goodput.low, goodput.high), strict=True)),
        **times_of(view, key, place, TIMES),
    }


def _rate(place: str) -> float:
    return float(place.removesuffix("/s"))
