"""Results that hold for a machine for a day, as a device's ceilings do, kept in the user's cache.

A result is taken over by a stage of the same key, on the same machine: the same settings, source, versions of
libraries and kind of device. The record of a run that takes one over says so, and when it was measured.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.datasets.cache import cache_folder, locked
from bench.errors import DataError
from bench.files import read_json, replace_file
from bench.records import Measurement, Result, as_json, read_as
from bench.results.store import StageRow
from bench.stages import STAGES

MAX_AGE_S = 24 * 3600
"""Seconds that a result is taken over for: what changes a machine's rates, as firmware, is rare."""

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
        kept = read_as(_Kept, _read()[_name(stage)])
    except (KeyError, ValueError):
        return None
    now_s = time.time()
    if not _is_recent(kept.measured_s, now_s):
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
    kept = _Kept(now_s, result.measurements, result.environment)
    try:
        folder = cache_folder("costs")
        with locked(folder):
            recent = {
                name: content
                for name, content in _read().items()
                if isinstance(content, dict) and _is_recent(content.get("measured_s"), now_s)
            }
            content = json.dumps({**recent, _name(stage): as_json(kept)})
            replace_file(folder / _FILE, content.encode())
    except (OSError, DataError):
        return


def _is_recent(measured_s: object, now_s: float) -> bool:
    return isinstance(measured_s, float) and 0 <= now_s - measured_s < MAX_AGE_S


def _name(stage: StageRow) -> str:
    return f"{stage.key} {platform.node()}"


def _read() -> dict[str, Any]:
    try:
        content = read_json(cache_folder("costs") / _FILE)
    except (OSError, ValueError, DataError):
        return {}
    return content if isinstance(content, dict) else {}
