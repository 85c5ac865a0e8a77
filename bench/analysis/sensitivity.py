"""How far a setting, such as the learning rate, may be off and the target is still reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.survival import Outcome, median_outcome


@dataclass(frozen=True)
class ReachingRange:
    """The values of a setting around the best one, `low` to `high`, that all reach the target.

    `best` needs the least. `below` and `above` are the nearest tested values on either side that missed; None
    where the tests end before one did, so nobody knows how far the range goes. `elsewhere` are the values
    that reached the target beyond one that missed it.
    """

    best: float
    low: float
    high: float
    below: float | None
    above: float | None
    elsewhere: tuple[float, ...] = ()

    @property
    def decades(self) -> float:
        """Return the width in powers of 10 that was seen to reach the target; the truth is at least this."""
        return math.log10(self.high / self.low)

    @property
    def most_decades(self) -> float:
        """Return the width up to the values that missed the target; infinite where the tests end before."""
        if self.below is None or self.above is None:
            return math.inf
        return math.log10(self.above / self.below)

    @property
    def best_at_end(self) -> bool:
        """Say whether the best value is the last one tested on its side: a better one may lie beyond."""
        return (self.best == self.low and self.below is None) or (
            self.best == self.high and self.above is None
        )


def reaching_range(outcomes: Mapping[float, Sequence[Outcome]]) -> ReachingRange | None:
    """Return the range of a setting that reaches the target, from the outcomes of seeds at each tested value.

    A value reaches it if more than half of its seeds do; it needs what their median does. None where no value
    reaches it. Raises ValueError for values that are not positive and finite, or a value without a seed.
    """
    values = sorted(outcomes)
    if not all(0 < value < math.inf for value in values) or not all(outcomes.values()):
        raise ValueError(f"values must be positive and finite, each with a seed, got {values}")
    needed = [median_outcome(outcomes[value]) for value in values]
    reached = [math.isfinite(median) for median in needed]
    if not any(reached):
        return None
    best = needed.index(min(needed))
    first = last = best
    while first > 0 and reached[first - 1]:
        first -= 1
    while last + 1 < len(values) and reached[last + 1]:
        last += 1
    return ReachingRange(
        values[best],
        values[first],
        values[last],
        values[first - 1] if first else None,
        values[last + 1] if last + 1 < len(values) else None,
        tuple(value for place, value in enumerate(values) if reached[place] and not first <= place <= last),
    )
