"""Times to a target of which some were never seen to end: their medians."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What one training needed to reach its target: steps, seconds or samples, infinite if it never did.

    `budget` is how much it was given, in the same unit. A training that diverged never would have reached its
    target; one that is `censored` might have, beyond its budget. `at_most`: it needed no more than that, and
    nobody knows how much less, as where the target held at the first evaluation. `resolution` is the share by
    which `needed` may be off.
    """

    needed: float
    budget: float
    censored: bool = False
    at_most: bool = False
    resolution: float = 0.0

    @property
    def reached(self) -> bool:
        return math.isfinite(self.needed)


def median_outcome(outcomes: Iterable[Outcome]) -> float:
    """Return the median of what was needed; infinite where half of the trainings or more never got there."""
    return statistics.median(outcome.needed for outcome in outcomes)


def kaplan_meier_median(outcomes: Sequence[Outcome]) -> float:
    """Return the median by the product-limit estimate (Kaplan & Meier 1958); infinite where never reached.

    Censored trainings leave the count of those at risk at their budget. Ones that diverged stay in it to the
    end, as those that can no longer reach the target (a competing event; Kalbfleisch & Prentice 2002, section
    8.2). Where exactly half have reached it, the median is the middle of the time until the next does. It is
    the plain median unless budgets differ.
    """
    if not outcomes:
        raise ValueError("no outcomes")
    left = 1.0
    half = math.nan
    for needed in sorted({outcome.needed for outcome in outcomes if outcome.reached}):
        if not math.isnan(half):
            return (half + needed) / 2
        at_risk = sum(not _left_before(outcome, needed) for outcome in outcomes)
        left *= 1 - sum(outcome.needed == needed for outcome in outcomes) / at_risk
        if math.isclose(left, 0.5, rel_tol=1e-9):
            half = needed
        elif left < 0.5:
            return needed
    return math.inf


def _left_before(outcome: Outcome, time: float) -> bool:
    if outcome.reached:
        return outcome.needed < time
    return outcome.censored and outcome.budget < time
