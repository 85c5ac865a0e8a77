"""Small files in the user's cache that say what costs what on this machine.

One that cannot be read counts as empty and one that cannot be written stays as it was: either only costs the
time to measure again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from bench.datasets.cache import cache_folder, locked
from bench.errors import DataError
from bench.files import read_json, replace_file

_FOLDER = "costs"

MAX_AGE_S = 24 * 3600
"""Seconds that what was measured once holds for: what changes a machine's rates, as firmware, is rare."""


def read_kept(file: str) -> dict[str, Any]:
    """Return the content of a file of the cache, empty where there is none that can be read."""
    try:
        content = read_json(cache_folder(_FOLDER) / file)
    except (OSError, ValueError, DataError):
        return {}
    return content if isinstance(content, dict) else {}


def change_kept(file: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Replace the content of a file of the cache by what `change` makes of it, while no other process may."""
    try:
        folder = cache_folder(_FOLDER)
        with locked(folder):
            replace_file(folder / file, json.dumps(change(read_kept(file))).encode())
    except (OSError, DataError):
        return


def is_recent(measured_s: object, now_s: float) -> bool:
    """Return whether a Unix time is within the last day."""
    return isinstance(measured_s, float) and 0 <= now_s - measured_s < MAX_AGE_S


def recent(content: Mapping[str, Any], now_s: float) -> dict[str, Any]:
    """Return the entries that were measured within the last day."""
    return {
        name: entry
        for name, entry in content.items()
        if isinstance(entry, dict) and is_recent(entry.get("measured_s"), now_s)
    }
