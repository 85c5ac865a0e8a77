"""Results that hold for a machine for a day, as a device's ceilings do, kept in the user's cache.

A result is taken over by a stage of the same key, on the same machine: the same settings, source, versions of
libraries and kind of device. The record of a run that takes one over says so, and when it was measured. One
that was disturbed holds for an hour, and stays marked: on a machine that is never quiet each run would
measure again otherwise, and find nothing better.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.costs.kept import change_kept, is_recent, read_kept, recent
from bench.records import Measurement, Result, as_json, read_as
from bench.results.store import StageRow
from bench.stages import STAGES

_FILE = "daily.json"

DISTURBED_AGE_S = 3600.0
"""Seconds that a disturbed result holds for."""


@dataclass(frozen=True)
class _Kept:
    """What a stage measured, where, when (Unix time), and what disturbed it."""

    measured_s: float
    measurements: tuple[Measurement, ...]
    environment: Mapping[str, Any]
    disturbed: str = ""


def read_daily(stage: StageRow, machine: str = "") -> Result | None:
    """Return what the same stage measured on a machine within the last day, None where nothing is kept.

    `machine` is that of a cluster's node; this one by default.
    """
    if not STAGES.get(stage.kind).daily:
        return None
    now_s = time.time()
    kept = _held(read_kept(_FILE), _name(stage, machine), now_s)
    if kept is None:
        return None
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(kept.measured_s))
    measurements = tuple(
        replace(entry, method=f"{entry.method}; taken over, measured {when}") for entry in kept.measurements
    )
    return Result(
        "ok",
        start_s=now_s,
        measurements=measurements,
        environment=kept.environment,
        dynamic={"disturbed": kept.disturbed},
    )


def keep_daily(stage: StageRow, result: Result, machine: str = "") -> None:
    """Keep a good result, unless it is disturbed and an undisturbed one still holds.

    A cache that cannot be written only costs time.
    """
    if not STAGES.get(stage.kind).daily or result.state != "ok":
        return
    now_s, name = time.time(), _name(stage, machine)
    disturbed = str(result.dynamic.get("disturbed") or "")
    kept = as_json(_Kept(now_s, result.measurements, result.environment, disturbed))

    def change(content: dict[str, Any]) -> dict[str, Any]:
        before = _held(content, name, now_s)
        stays = disturbed and before is not None and not before.disturbed
        return {**recent(content, now_s), **({} if stays else {name: kept})}

    change_kept(_FILE, change)


def _held(content: Mapping[str, Any], name: str, now_s: float) -> _Kept | None:
    """Return what is kept by a name and holds still."""
    try:
        kept = read_as(_Kept, content[name])
    except (KeyError, ValueError):
        return None
    holds = is_recent(kept.measured_s, now_s)
    return kept if holds and not (kept.disturbed and now_s - kept.measured_s >= DISTURBED_AGE_S) else None


def _name(stage: StageRow, machine: str) -> str:
    return f"{stage.key} {machine or platform.node()}"
