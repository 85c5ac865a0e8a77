"""Results that hold for a machine for a day, as a device's ceilings do, kept in the user's cache.

A result is taken over by a stage of the same key, on the same machine: the same settings, source, versions of
libraries and kind of device. The record of a run that takes one over says so, and when it was measured.
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


@dataclass(frozen=True)
class _Kept:
    """What a stage measured, where, and when (Unix time)."""

    measured_s: float
    measurements: tuple[Measurement, ...]
    environment: Mapping[str, Any]


def read_daily(stage: StageRow) -> Result | None:
    """Return what the same stage measured on this machine within the last day, None where nothing is kept."""
    if not STAGES.get(stage.kind).daily:
        return None
    try:
        kept = read_as(_Kept, read_kept(_FILE)[_name(stage)])
    except (KeyError, ValueError):
        return None
    now_s = time.time()
    if not is_recent(kept.measured_s, now_s):
        return None
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(kept.measured_s))
    measurements = tuple(
        replace(entry, method=f"{entry.method}; taken over, measured {when}") for entry in kept.measurements
    )
    return Result("ok", start_s=now_s, measurements=measurements, environment=kept.environment)


def keep_daily(stage: StageRow, result: Result) -> None:
    """Keep a good result that nothing disturbed; a cache that cannot be written only costs time."""
    wanted = STAGES.get(stage.kind).daily and result.state == "ok"
    if not wanted or result.dynamic.get("disturbed"):
        return
    now_s = time.time()
    kept = as_json(_Kept(now_s, result.measurements, result.environment))
    change_kept(_FILE, lambda content: {**recent(content, now_s), _name(stage): kept})


def _name(stage: StageRow) -> str:
    return f"{stage.key} {platform.node()}"
