"""The values of a technique's settings: their types, their ranges, and how they are written."""

from __future__ import annotations

import math
import re

Setting = bool | int | float | str

_KINDS: dict[type, str] = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}

_NEEDS_QUOTES = re.compile(r'[,+|"]|^\s|\s$')

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
        raise ValueError(f"{text!r} must be {_KINDS[type(default)]}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{text!r} must be a finite number")
    return value


def spell(value: Setting) -> str:
    """Write a setting so that equal values have one spelling: 1.0 is 1, True is true."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def quote(text: str, also: str = "") -> str:
    """Write text so that it is one piece wherever it stands, in double quotes if it has to be.

    `also` are further characters that need quotes at this place.
    """
    needed = _NEEDS_QUOTES.search(text) or (also and also in text)
    return '"' + text.replace('"', '""') + '"' if needed else text


def unquote(text: str) -> str:
    """Return what `quote` was given; text without quotes stays.

    Raises ValueError where a quote is not the first and the last character.
    """
    if '"' not in text:
        return text
    inner = text[1:-1]
    if len(text) < 2 or text[0] != '"' or text[-1] != '"' or '"' in inner.replace('""', ""):
        raise ValueError(f'{text} has a quote out of place; write "all of it", and "" for one quote')
    return inner.replace('""', '"')


def split(text: str, separator: str, most: int = -1) -> list[str]:
    """Split text at a separator of one character that stands outside double quotes; pieces lose outer spaces.

    At most `most` splits are made where that is not negative.
    """
    pieces: list[str] = []
    start, quoted = 0, False
    for place, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted and len(pieces) != most:
            pieces.append(text[start:place].strip())
            start = place + 1
    return [*pieces, text[start:].strip()]


def in_range(value: Setting, range_: str) -> bool:
    """Say whether a number lies in a range written as `[0, 1)`, `(0, inf)`: `[` includes, `(` does not.

    Raises ValueError for a range of another form.
    """
    written = _RANGE.fullmatch(range_)
    if written is None:
        raise ValueError(f"{range_!r} must be a range, as '[0, 1)'")
    opening, low, high, closing = written.groups()
    number, lowest, highest = float(value), float(low), float(high)
    above = number >= lowest if opening == "[" else number > lowest
    below = number <= highest if closing == "]" else number < highest
    return above and below
