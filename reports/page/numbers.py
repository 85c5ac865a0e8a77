"""Numbers and texts as the page's JSON has them: short, finite, and each text once."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from reports.grids.cell import AFTER_ALL

_DIGITS = 6
"""Significant digits of numbers that order rows and place marks."""


def rounded(number: Any, digits: int = _DIGITS) -> float | None:
    """Return a number with few digits, None for what is unknown, `AFTER_ALL` for what never ends."""
    if number is None or number != number:
        return None
    if math.isinf(number):
        return AFTER_ALL if number > 0 else -AFTER_ALL
    short = float(f"{number:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def coded(values: Sequence[Any]) -> dict[str, Any]:
    """Return values as a list of distinct ones, `of`, and the place of each in it, `at`.

    Where all are distinct, in order, there is no `at`.
    """
    places: dict[Any, int] = {}
    codes = [places.setdefault(value, len(places)) for value in values]
    return {"of": list(places)} | ({} if len(places) == len(values) else {"at": codes})


def as_json(data: Any) -> str:
    """Write data as JSON that ends no script element, whatever its texts."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})
