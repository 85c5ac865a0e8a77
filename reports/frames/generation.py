"""Generation by language models: what a reader waits for, and what serving several at once gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.analysis.generation import GenerationPoint, read_point
from reports.frames.precision import is_preliminary
from reports.frames.roofline import memory_excess, memory_share
from reports.frames.view import RunView

OWN_CACHE = "own"
"""The cache as the model keeps it, in its precision."""

TIMES = ("ttft", "tpot", "inter_token", "inter_token_p99")
ENDS = ("_s", "_low_s", "_high_s", "_launches", "_disturbed", "_preliminary")

_OF_POINTS = (
    *("tokens_per_s", "engine_ttft_s", "engine_tpot_s", "draft_acceptance"),
    *("energy_per_token_j", "decode_bytes", "peak_rss_bytes", "rss_growth_bytes"),
)
_BOUNDS = ("tokens_per_s_low", "tokens_per_s_high")
_OF_CACHES = ("generation_kl", "generation_agreement", "generation_nats", "engine_nats")
_OF_STAGES = ("load_s", "gpu_allocated_peak_bytes")
_COLUMNS = (
    *("workload", "compressions", "backend", "precision", "cache", "draft"),
    *("prompt_tokens", "new_tokens", "concurrency", "state", "reason"),
    *(f"{name}{end}" for name in TIMES for end in ENDS),
    *(*_OF_POINTS, *_BOUNDS, "decode_share", "cache_bytes_per_token", *_OF_CACHES, *_OF_STAGES, "stage_key"),
)


def generation_table(view: RunView) -> pd.DataFrame:
    """Return one row for each length, number of texts, cache and draft, of each structure that generated.

    `cache` is the format of the key-value cache, `own` as the model keeps it. Divergence, agreement and
    losses are those with that cache; with a draft, whose tokens the model checks, those of the model.
    `compressions` lists the recipes that run as this same structure. Intervals are over launches.
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
    whole = dict.fromkeys(("concurrency", "prompt_tokens", "new_tokens"), "Int64")
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(whole)


def _rows(view: RunView, key: str) -> list[dict[str, Any]]:
    points = [read_point(place) for place in view.qualifiers(key, "tokens_per_s")]
    # The model's own cache first, then the others, then what a draft helps.
    points.sort(key=lambda point: (point.draft, point.cache, point.prompt, point.new, point.texts))
    rows = [_row(view, key, point) for point in points] or [_row(view, key, None)]
    measured = {variant_of(point.cache, point.draft) for point in points}
    lacking = [name for name in view.qualifiers(key, "cache_bytes_per_token") if name not in measured]
    return rows + [_lacking(view, key, name) for name in lacking]


def variant_of(cache: str, draft: str) -> str:
    """Return the qualifier of what is measured once for a cache and a draft."""
    return " ".join([*([cache] if cache else []), *([f"draft={draft}"] if draft else [])])


def _row(view: RunView, key: str, point: GenerationPoint | None) -> dict[str, Any]:
    status, invalid = view.status(key), view.invalid(key)
    place = point.qualifier if point else ""
    cache, draft = (point.cache, point.draft) if point else ("", "")
    variant, rate = variant_of(cache, draft), view.reading(key, "tokens_per_s", place)
    row = {
        "state": "INVALID" if invalid else status.state,
        "reason": invalid or status.reason,
        "cache": cache or OWN_CACHE,
        "draft": draft,
        "concurrency": point.texts if point else None,
        "prompt_tokens": (point.prompt or None) if point else None,
        "new_tokens": (point.new or None) if point else None,
        **times_of(view, key, place, TIMES),
        **{name: view.value(key, name, place) for name in _OF_POINTS},
        **dict(zip(_BOUNDS, (rate.low, rate.high), strict=True)),
        "cache_bytes_per_token": view.value(key, "cache_bytes_per_token", variant),
        **{name: view.value(key, name, cache) for name in _OF_CACHES},
        **{name: view.value(key, name) for name in _OF_STAGES},
        "stage_key": key,
    }
    # With a draft a step gives several tokens; its time is the wait from one step's tokens to the next.
    step_s = row["inter_token_s"] if draft else row["tpot_s"]
    excess = "" if view.smoke or not status.ok else memory_excess(view, key, row["decode_bytes"], step_s)
    if excess and not invalid:
        row |= {"state": "INVALID", "reason": excess}
    return {**row, "decode_share": memory_share(view, key, row["decode_bytes"], step_s)}


def _lacking(view: RunView, key: str, variant: str) -> dict[str, Any]:
    """Return the row of a cache or a draft that the engine does not support, or of one not measured."""
    point = read_point(f"1 {variant}")
    size = view.reading(key, "cache_bytes_per_token", variant)
    return {
        "state": "skipped",
        "reason": size.reason,
        "cache": point.cache or OWN_CACHE,
        "draft": point.draft,
        "stage_key": key,
    }


def times_of(view: RunView, key: str, place: str, names: Sequence[str]) -> dict[str, Any]:
    """Return times of a stage, named without their unit, at a place: each with its interval and launches."""
    times: dict[str, Any] = {}
    status = view.status(key)
    for name in names:
        found = view.reading(key, f"{name}_s", place)
        preliminary = is_preliminary(view, found) or 0 < status.good == status.disturbed
        values = (found.value, found.low, found.high, found.launches, status.disturbed, preliminary)
        times |= dict(zip((f"{name}{end}" for end in ENDS), values, strict=True))
    return times
