"""How text that came from files, names, models and stores is shown: nothing in it acts on a terminal."""

from __future__ import annotations

import re
import sys
from typing import TextIO

MOST_CHARACTERS = 500
"""The most that a message has; what matters is where it begins, and what to do where it ends."""

_KEPT_AT_END = 140

# Controls but tab and line feed, marks that change the direction of text, invisible characters, halves of
# pairs: what a terminal obeys or a reader does not see.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return text with each character that acts or hides written as an escape, as `\x1b` or `\u202e`."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """Return text as a message: visible, in one line, and its middle left out where it is too long."""
    line = visible(" ".join(text.split("\n")).strip())
    if len(line) <= MOST_CHARACTERS:
        return line
    end = line[-_KEPT_AT_END:]
    return f"{line[: MOST_CHARACTERS - len(end) - 3]} … {end}"


def say(text: object = "", file: TextIO | None = None) -> None:
    """Print text visibly."""
    print(visible(str(text)), file=file or sys.stdout)
