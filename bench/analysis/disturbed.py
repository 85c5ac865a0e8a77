"""Finds the disturbed launches of a run: by their own signs, or because the machine was slow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

_FEW = 20
"""Launches from which on the share that was disturbed is known well enough."""

SLOWER = 1.12
"""A launch is disturbed if the reference product took this much longer than at the run's best, or usually."""

_BEST = 0.1
"""The best is the quantile below which a tenth of the launches lie: a cool chip's first are faster still."""


def what_disturbed(launches: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """Return what disturbed each good launch of a run; an empty text if nothing did.

    `launches` map a launch to what it recorded of its surroundings. All are judged together and again each
    time: a later launch may show that an earlier one had a slow machine. A machine that most launches saw
    slower than at its best is judged by what it mostly was: its best is then no state to wait for.
    """
    known = [found["reference_s"] for found in launches.values() if found.get("reference_s") is not None]
    if not known:
        return {launch: found.get("disturbed") or "" for launch, found in launches.items()}
    usual_s, state = best_reference_s(known), "at its best"
    if not repeats_help(len(known), sum(reference_s > SLOWER * usual_s for reference_s in known)):
        usual_s, state = median(known), "it mostly was"
    return {
        launch: found.get("disturbed") or _slowed(found.get("reference_s"), usual_s, state)
        for launch, found in launches.items()
    }


def repeats_help(good: int, disturbed: int) -> bool:
    """Say whether to repeat disturbed launches, from how many of a run's good launches were disturbed.

    Where most were, a repeat would most likely be disturbed too: it costs time and shows nothing better.
    """
    return good < _FEW or disturbed <= good / 2


def best_reference_s(known_s: Sequence[float]) -> float:
    """Return the seconds of the reference product at the machine's best, from those of all launches."""
    return sorted(known_s)[int(_BEST * (len(known_s) - 1))]


def _slowed(reference_s: float | None, usual_s: float, state: str) -> str:
    if reference_s is None or reference_s <= SLOWER * usual_s:
        return ""
    return f"the machine was {100 * (reference_s / usual_s - 1):.0f} % slower than {state} in this run"
