"""Generation by language models: what a reader waits for, and what serving several at once gives."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.frames.view import RunView

OWN_CACHE = "own"
"""The cache as the model keeps it, in its precision."""

_TIMES = ("ttft", "inter_token", "inter_token_p99")
_COLUMNS = (
    *("workload", "compressions", "backend", "precision", "cache", "concurrency"),
    *("state", "reason", "disturbed"),
    *(f"{name}{end}" for name in _TIMES for end in ("_s", "_low_s", "_high_s")),
    *("tokens_per_s", "cache_bytes_per_token", "cache_kl", "cache_agreement", "stage_key"),
)


def generation_table(view: RunView) -> pd.DataFrame:
    """Return one row for each number of texts side by side, of each structure and cache that generated.

    `cache` is the format of the key-value cache, `own` as the model keeps it. `cache_kl` is the divergence of
    the next token's distribution from that with its own cache, in nats, `cache_agreement` the share of tokens
    with the same likeliest one. `compressions` lists the recipes that run as this same structure. Intervals
    are within its one launch; `disturbed` says whether something disturbed that.
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
    places = [place.partition(" ")[::2] for place in view.qualifiers(key, "tokens_per_s")] or [("", "")]
    places.sort(key=lambda place: (place[1], int(place[0] or 0)))  # its own cache first
    caches = {cache for _, cache in places}
    places += [("", name) for name in view.qualifiers(key, "cache_bytes_per_token") if name not in caches]
    return [_row(view, key, beside, cache) for beside, cache in places]


def _row(view: RunView, key: str, beside: str, cache: str) -> dict[str, Any]:
    status, invalid = view.status(key), view.invalid(key)
    place = f"{beside} {cache}".strip()
    size = view.reading(key, "cache_bytes_per_token", cache)
    state = {"state": "INVALID" if invalid else status.state, "reason": invalid or status.reason}
    if cache and not beside:
        state = {"state": "skipped", "reason": size.reason}
    return {
        **state,
        "cache": cache or OWN_CACHE,
        "disturbed": bool(status.disturbed),
        "concurrency": int(beside) if beside else None,
        **_times(view, key, place),
        "tokens_per_s": view.value(key, "tokens_per_s", place),
        "cache_bytes_per_token": size.value,
        **{name: view.value(key, name, cache) for name in ("cache_kl", "cache_agreement")},
        "stage_key": key,
    }


def _times(view: RunView, key: str, beside: str) -> dict[str, float | None]:
    times: dict[str, float | None] = {}
    for name in _TIMES:
        found = view.reading(key, f"{name}_s", beside)
        times |= {f"{name}_s": found.value, f"{name}_low_s": found.low, f"{name}_high_s": found.high}
    return times
