"""Generation by language models: what a reader waits for, and what serving several at once gives."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.view import RunView

_METRICS = ("ttft_s", "inter_token_s", "inter_token_p99_s", "tokens_per_s")
_COLUMNS = (
    *("workload", "compressions", "backend", "precision", "concurrency", "state", "reason"),
    *(*_METRICS, "cache_bytes_per_token", "stage_key"),
)


def generation_table(view: RunView) -> pd.DataFrame:
    """Return one row for each number of texts side by side, of each structure that generated.

    `compressions` lists the recipes that run as this same structure.
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
            "concurrency": int(beside) if beside else None,
            **{metric: view.value(key, metric, beside) for metric in _METRICS},
            "cache_bytes_per_token": view.value(key, "cache_bytes_per_token"),
            "stage_key": key,
        }
        for beside in view.qualifiers(key, "tokens_per_s") or [""]
    ]
