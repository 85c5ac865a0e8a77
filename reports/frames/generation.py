"""Generation by language models: what a reader waits for, and what serving several at once gives."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.frames.view import RunView

_TIMES = ("ttft", "inter_token", "inter_token_p99")
_COLUMNS = (
    *("workload", "compressions", "backend", "precision", "concurrency", "state", "reason", "disturbed"),
    *(f"{name}{end}" for name in _TIMES for end in ("_s", "_low_s", "_high_s")),
    *("tokens_per_s", "cache_bytes_per_token", "stage_key"),
)


def generation_table(view: RunView) -> pd.DataFrame:
    """Return one row for each number of texts side by side, of each structure that generated.

    `compressions` lists the recipes that run as this same structure. Intervals are within its one launch;
    `disturbed` says whether something disturbed that.
    """
    recipes: dict[str, dict[str, None]] = {}
    axes: dict[str, dict[str, Any]] = {}
    for cell in view.cells:
        key = str(cell.stages.get("generate") or "")
        if key and not cell.skipped:
            recipes.setdefault(key, {})[str(cell.axes.get("compression"))] = None
            axes.setdefault(key, {name: cell.axes.get(name) for name in ("workload", "backend", "precision")})
    rows = [
        {**axes[key], "compressions": ", ".join(names), **row}
        for key, names in recipes.items()
        for row in _rows(view, key)
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"concurrency": "Int64"})


def _rows(view: RunView, key: str) -> list[dict[str, Any]]:
    status, invalid = view.status(key), view.invalid(key)
    state = {"state": "INVALID" if invalid else status.state, "reason": invalid or status.reason}
    return [
        {
            **state,
            "disturbed": bool(status.disturbed),
            "concurrency": int(beside) if beside else None,
            **_times(view, key, beside),
            "tokens_per_s": view.value(key, "tokens_per_s", beside),
            "cache_bytes_per_token": view.value(key, "cache_bytes_per_token"),
            "stage_key": key,
        }
        for beside in view.qualifiers(key, "tokens_per_s") or [""]
    ]


def _times(view: RunView, key: str, beside: str) -> dict[str, float | None]:
    times: dict[str, float | None] = {}
    for name in _TIMES:
        found = view.reading(key, f"{name}_s", beside)
        times |= {f"{name}_s": found.value, f"{name}_low_s": found.low, f"{name}_high_s": found.high}
    return times
