"""Tuning by trials: when a trial is pruned, which one is best, whether its rate lies at the edge.

All rules are fixed beforehand, the same for every optimizer. Whether a trial is pruned depends on nothing but
itself, so trials can run anywhere and in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

FIXED = "fixed"
"""The tuning of optimizers that are trained with the settings that are written."""

PRUNED_AT = 0.5
"""The share of its budget of steps after which a trial may be pruned."""

PRUNED_BELOW = 0.25
"""A trial is pruned that has come less than this share of the way from the untrained model to the target."""

EXTENSIONS = 2
"""Further trials, at most, while the best rate lies at the edge of those tried."""

FACTOR = 3.0
"""How far beyond the edge the rate of such a trial lies."""

Ended = Literal["reached", "budget", "pruned", "diverged", "failed", "not needed"]
Side = Literal["low", "high"]


@dataclass(frozen=True)
class Trial:
    """What one trial found: `settings` are those that it tried, by name.

    `steps_to_target` is interpolated between evaluations, None where the target did not hold. `quality` is
    the best of any evaluation, None where there was none. One that was not needed has tried nothing.
    """

    number: int
    settings: Mapping[str, float] = field(default_factory=dict)
    ended: Ended = "budget"
    reason: str = ""
    steps_to_target: float | None = None
    quality: float | None = None

    @property
    def made(self) -> bool:
        """Whether anything was tried."""
        return self.ended != "not needed"

    @property
    def lost(self) -> bool:
        """Whether its settings led nowhere, so that no training should have them."""
        return self.ended in ("diverged", "failed")


def pruned(qualities: Sequence[float], untrained: float, target: float, step: int, steps: int) -> str:
    """Say why a trial ends at this step of its budget, or return an empty text where it goes on.

    `qualities` are those of its evaluations so far, `untrained` that of the model before the first step.
    """
    if not PRUNED_AT * steps <= step < steps or not math.isfinite(untrained):
        return ""
    best = max(filter(math.isfinite, qualities), default=-math.inf)
    least = untrained + PRUNED_BELOW * (target - untrained)
    if best >= least:
        return ""
    return (
        f"best quality {best:.3g} at step {step:,} of {steps:,} is under {least:.3g}, "
        f"{PRUNED_BELOW:.0%} of the way from {untrained:.3g} (untrained) to the target {target:g}"
    )


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """Return the trial that took the fewest steps to the target; where none reached it, of the best quality.

    Of equal ones it is the first. A trial that diverged or failed is none. None where no other trial came to
    an evaluation.
    """
    known = [
        trial
        for trial in trials
        if not trial.lost and (_finite(trial.steps_to_target) or _finite(trial.quality))
    ]
    return min(known, key=_place, default=None)


def edge(best: Trial, trials: Iterable[Trial], rate: str) -> Side | None:
    """Return on which side no trial had a rate beyond the best trial's; None where both sides were tried.

    A trial that diverged counts: its rate was tried. None too where the rate was not searched.
    """
    rates = [trial.settings[rate] for trial in trials if rate in trial.settings]
    if rate not in best.settings or len(set(rates)) < 2:
        return None
    if best.settings[rate] <= min(rates):
        return "low"
    return "high" if best.settings[rate] >= max(rates) else None


def beyond(best: Trial, side: Side, rate: str) -> dict[str, float]:
    """Return the best trial's settings with the rate moved beyond the edge."""
    moved = best.settings[rate] * FACTOR if side == "high" else best.settings[rate] / FACTOR
    return {**best.settings, rate: float(f"{moved:.4g}")}


def _place(trial: Trial) -> tuple[bool, float, int]:
    if trial.steps_to_target is not None and _finite(trial.steps_to_target):
        return False, trial.steps_to_target, trial.number
    assert trial.quality is not None  # `best_of` leaves out the others
    return True, -trial.quality, trial.number


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
