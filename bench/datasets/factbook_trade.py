"""What countries grow, make, sell and buy, and with whom: the World Factbook, one entry for each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from bench.datasets import world_factbook

FIELDS = {
    "Agricultural products": "grows",
    "Industries": "makes",
    "Exports - commodities": "sells",
    "Imports - commodities": "buys",
    "Exports - partners": "sells to",
    "Imports - partners": "buys from",
}
"""Fields of a place's economy whose values are lists, and what a place does with what they list."""

LEAST = 5
"""Places that do a thing, at least: of one that fewer do, nothing could be learned."""
LEAST_THINGS = 10
"""Things that a place does, at least; a few islands have fewer."""

_LONGEST = 40


def load() -> list[tuple[str, str]]:
    """Return (place, thing) of what is done by `LEAST` places or more: `("africa/ke", "grows tea")`.

    Each is there once, a place's in a random order that is the same each time. Raises DataError where the
    Factbook is not here.
    """
    found = [(place, thing) for place, entry in world_factbook.load().items() for thing in things(entry)]
    counts = Counter(thing for _, thing in found)
    known = [pair for pair in found if counts[pair[1]] >= LEAST]
    done = Counter(place for place, _ in known)
    kept = [pair for pair in known if done[pair[0]] >= LEAST_THINGS]
    return sorted(kept, key=lambda pair: (pair[0], sha256("".join(pair).encode()).digest()))


def things(entry: Mapping[str, Any]) -> list[str]:
    """Return what a place does, by its entry in the Factbook: `grows tea`, `sells to USA`; each once."""
    economy = entry.get("Economy", {})
    named = (
        f"{does} {name}"
        for field, does in FIELDS.items()
        for name in _names(str(economy.get(field, {}).get("text", "")))
    )
    return list(dict.fromkeys(named))


def _names(text: str) -> Iterator[str]:
    """Yield the entries of a list, without shares, years and remarks."""
    for part in re.split(r"[,;]", re.sub(r"\([^)]*\)|<[^>]*>|\d+(\.\d+)?\s*%", "", text)):
        name = " ".join(part.split()).lower().removeprefix("and ").rstrip(".")
        if name and len(name) <= _LONGEST and not any(mark in name for mark in ":0123456789"):
            yield name
