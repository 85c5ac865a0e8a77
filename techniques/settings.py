"""The values of a technique's settings: their types, their ranges, and how they are written."""

from __future__ import annotations

import math
import re

Setting = bool | int | float | str

_RANGE = re.compile(r"([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])")


def read_setting(text: str, default: Setting) -> Setting:
    """Read `text` as the type of `default`; raises ValueError that says which type was expected.

    A number must be finite.
    """
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        value = type(default)(text)
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is no {type(default).__name__}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{text!r} is no finite number")
    return value


def spell(value: Setting) -> str:
    """Write a setting so that equal values have one spelling: 1.0 is 1, True is true."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def in_range(value: Setting, range_: str) -> bool:
    """Say whether a number lies in a range written as `[0, 1)`, `(0, inf)`: `[` includes, `(` does not."""
    written = _RANGE.fullmatch(range_)
    if written is None:
        raise ValueError(f"{range_!r} is no range; write it as '[0, 1)'")
    opening, low, high, closing = written.groups()
    number, lowest, highest = float(value), float(low), float(high)
    above = number >= lowest if opening == "[" else number > lowest
    below = number <= highest if closing == "]" else number < highest
    return above and below
