"""Rates that were tried beside an optimizer's own: they say how sensitive it is, and are no rivals of it.

Ranked among optimizers that had one rate, the best of several would win by the number of its tries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.frames.view import TRAIN_AXES
from techniques.settings import split

MIN_TRIED = 2
"""Rates beside its own from which on an optimizer is swept: a single one may be a rival, as `tuned` is."""

_LIKE = tuple(column for column in TRAIN_AXES.values() if column not in ("optimizer", "seed"))


def family(optimizer: str) -> str:
    """Return the text of an optimizer without its rate: `adam:lr=0.01,eps=1e-07` is `adam:eps=1e-07`."""
    name, _, rest = optimizer.partition(":")
    others = [part for part in split(rest, ",") if part and not part.startswith("lr=")]
    return f"{name}:{','.join(others)}" if others else name


def are_swept(axes: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Say of each training, by its columns of `[train]`, whether it has a rate beside its optimizer's own.

    That is so where the optimizer has its own rate too, and `MIN_TRIED` others or more.
    """
    groups = [(family(str(row["optimizer"])), *(row[column] for column in _LIKE)) for row in axes]
    tried: dict[tuple[Any, ...], set[str]] = {}
    for row, group in zip(axes, groups, strict=True):
        tried.setdefault(group, set()).add(str(row["optimizer"]))
    swept = {group for group, texts in tried.items() if group[0] in texts and len(texts) > MIN_TRIED}
    return [
        group in swept and str(row["optimizer"]) != group[0] for row, group in zip(axes, groups, strict=True)
    ]
