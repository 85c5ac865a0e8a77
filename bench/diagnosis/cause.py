"""What a cause of a speed is, from which sizes on one is named, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.diagnosis.evidence import Evidence
from bench.formatting import three_digits

FASTER: Final = 1.1
"""From this ratio of speeds on a model counts as faster."""

TOLD_BY_ONE_LAUNCH: Final = 1.5
"""A single launch has no interval: it tells only what differs by this factor. Launches differ by less."""

MIN_SHARE: Final = 0.15
"""A cause that accounts for less of the time is not named."""

MIN_SHARE_OF_OTHERS: Final = 0.4
"""Where dispatch, or operators that stay as they are, take more, faster products bring 1.7 times at most."""

TINY_S: Final = 10e-6
"""Calling a kernel takes 1 to 10 µs in the runtimes here: one that takes no longer is mostly a call."""

AS_SLOW: Final = 0.9
"""Products that take this share of the time of those that they replace, or more, bring nothing."""

AS_MANY: Final = 0.9
"""A model with this share of the operations or bytes of another, or more, has as many."""

MIN_ZEROS: Final = 0.01
"""From this share of zero weights on, a model counts as one with zeroed weights."""

NEAR_CEILING: Final = 0.5
"""A call at this share of a measured ceiling, or more, is bound by it."""

FASTER_FORMAT: Final = 1.2
"""A number format whose measured peak is below this multiple of the precision's has no faster arithmetic."""

MAX_NAMES: Final = 3
"""Names of kernels in a sentence."""

IDLE_CPUS: Final = 0.75
"""A model that keeps fewer than this share of the CPUs busy that another does leaves threads idle."""


@dataclass(frozen=True)
class Cause:
    """A cause: its name, a sentence, what it rests on, and the share of the time that it accounts for."""

    name: str
    sentence: str
    evidence: str
    share: float


Rule = Callable[[Evidence], Cause | None]


def percent(share: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * share:.0f} %"


def times(ratio: float) -> str:
    """Write a ratio."""
    return f"{three_digits(ratio)}×"


def numbers(evidence: Evidence) -> str:
    """Return the numbers that a format multiplies."""
    return (evidence.format or evidence.precision).partition("-")[0]
