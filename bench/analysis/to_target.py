"""When a training reached its target: held, not crossed, and between evaluations by interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SUSTAINED = 2
"""Evaluations in a row that must meet the target: after a first crossing the next often falls below it."""

DIVERGED_FACTOR = 10.0
"""A training whose loss exceeds this many times its start has diverged."""

RESOLUTION = 0.01
"""The share by which steps to a target may be off at the least, however often a training is evaluated."""


@dataclass(frozen=True)
class Crossing:
    """Where a target came to hold: at the evaluation `position`, or between it and the one before.

    `fraction` is the share of that way which had passed when the straight line between both qualities met the
    target, in (0, 1]. It is 1, the evaluation itself, where the one before is unknown.
    """

    position: int
    fraction: float

    @property
    def at_first(self) -> bool:
        """Whether the target held at the first evaluation: when it came to is then unknown."""
        return self.position == 0

    def on(self, clock: Sequence[float]) -> float:
        """Return the time of crossing by `clock`: steps, seconds or samples at each evaluation."""
        end = clock[self.position]
        if self.fraction == 1:
            return end
        start = clock[self.position - 1]
        return start + self.fraction * (end - start)

    def resolution(self, clock: Sequence[float]) -> float:
        """Return the share by which the time of crossing may be off, since a curve is no straight line.

        Between evaluations h apart a line is off by up to h² / 8 × the curve's second derivative over its
        first (de Boor 2001, "A Practical Guide to Splines", chapter II). Where a curve of learning meets its
        target after a time t, that quotient is at most about 8 / t. So the share is (h / t)², 1 % with ten
        evaluations on the way, and never below `RESOLUTION`. With fewer than two it is all of h / t.
        """
        gap = clock[self.position] - clock[self.position - 1] if self.position else clock[0]
        share = min(1.0, gap / self.on(clock))
        return max(RESOLUTION, share if self.position < 2 else share**2)


def meets(quality: float, target: float) -> bool:
    """Say whether a quality meets its target, higher being better. NaN and infinities never do."""
    return math.isfinite(quality) and quality >= target


def first_held(qualities: Sequence[float], target: float) -> int | None:
    """Return the position of the first of `SUSTAINED` evaluations in a row that met the target."""
    in_a_row = 0
    for position, quality in enumerate(qualities):
        in_a_row = in_a_row + 1 if meets(quality, target) else 0
        if in_a_row == SUSTAINED:
            return position - SUSTAINED + 1
    return None


def held_by(qualities: Sequence[float], steps: Sequence[float], until: float) -> float | None:
    """Return the highest target that came to hold by the step `until`; None where none can have held.

    It holds at `SUSTAINED` evaluations in a row. NaN and infinities hold none.
    """
    levels = [
        min(qualities[last - SUSTAINED + 1 : last + 1])
        for last in range(SUSTAINED - 1, len(qualities))
        if steps[last] <= until and all(map(math.isfinite, qualities[last - SUSTAINED + 1 : last + 1]))
    ]
    return max(levels, default=None)


def crossing(
    qualities: Sequence[float], target: float, losses: Sequence[float] = (), start: float | None = None
) -> Crossing | None:
    """Return where the target came to hold; None where it never did.

    Interpolation is linear between the last evaluation that missed the target and the first that held it, so
    the grid of evaluations no longer decides who ties. Evaluations from the one on whose loss has diverged do
    not count; `losses` may be left out, and `start` is as of `diverged_at`. Raises ValueError where the
    target is not finite.
    """
    if not math.isfinite(target):
        raise ValueError(f"a target must be finite, got {target}")
    diverged = diverged_at(losses, start)
    position = first_held(qualities[:diverged], target)
    if position is None:
        return None
    before = qualities[position - 1] if position else math.nan
    fraction = (target - before) / (qualities[position] - before)
    return Crossing(position, fraction if 0 < fraction <= 1 else 1.0)


def diverged_at(losses: Sequence[float], start: float | None = None) -> int | None:
    """Return the position of the first loss that is NaN, infinite or `DIVERGED_FACTOR` times its `start`.

    None where there is none. Without `start` it is the first loss. A start that is infinite, or 0 or less as
    a log density may have, sets no scale: then only what is not finite has diverged.
    """
    first = start if start is not None else next(iter(losses), math.nan)
    limit = DIVERGED_FACTOR * first if first > 0 else math.inf
    for position, loss in enumerate(losses):
        if not math.isfinite(loss) or loss >= limit:
            return position
    return None


def value_at(steps: Sequence[float], values: Sequence[float], step: float) -> float | None:
    """Return a curve's value at a step, linear between evaluations; None outside of them or where not finite.

    `steps` must ascend and be as many as `values`.
    """
    for position, (end, value) in enumerate(zip(steps, values, strict=True)):
        if end < step:
            continue
        if end == step or position == 0:
            return value if end == step and math.isfinite(value) else None
        start, before = steps[position - 1], values[position - 1]
        between = before + (step - start) / (end - start) * (value - before)
        return between if math.isfinite(between) else None
    return None
