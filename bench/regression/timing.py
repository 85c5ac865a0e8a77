"""Judges timings: by their launches, by how far runs of the machine lie apart, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.noise import (
    MIN_LAUNCHES,
    UNKNOWN,
    Difference,
    between_runs,
    carry_over,
    centre,
    difference,
    two_modes,
)
from bench.analysis.paired import false_discovery_rates
from bench.formatting import counted
from bench.regression.finding import Finding
from bench.regression.ratios import in_words, settled, smallest_told

FALSE_ALARMS = 0.004
"""Share of slower timings named that are none; where nothing has changed, of checks that alarm at all.

A neighbour who comes and goes makes it 1 % of checks or less: `tests/performance/check_scores.py`.
"""

_MAX_CARRY_OVER = 0.55
"""Correlation of consecutive launches above which no interval holds (`tests/performance/check_scores.py`)."""


@dataclass(frozen=True)
class Timing:
    """One timing of a stage: its launches before and now, in their order, and medians of earlier runs."""

    stage: str
    metric: str
    before: Sequence[float]
    now: Sequence[float]
    history: Sequence[float] = ()

    @property
    def name(self) -> str:
        return f"{self.stage} {self.metric}"


def judge_timings(timings: Sequence[Timing], margin: float, threshold: float) -> list[Finding]:
    """Judge the timings of one check together.

    A timing is a regression where its difference would be one among `FALSE_ALARMS` by chance, over all
    timings (Benjamini & Hochberg 1995, "Controlling the false discovery rate"), and its interval lies above
    `threshold`. It has not changed where its interval lies within `margin`. Everything else can't be told.
    """
    noise = between_runs({timing.name: timing.history for timing in timings})
    carried = carry_over(side for timing in timings for side in (timing.before, timing.now))
    held = carried <= _MAX_CARRY_OVER
    found = [
        difference(timing.now, timing.before, noise.get(timing.name, UNKNOWN), carried) if held else None
        for timing in timings
    ]
    judged = [each for each in found if each is not None]
    differing = iter(rate <= 2 * FALSE_ALARMS for rate in false_discovery_rates([x.p_value for x in judged]))
    level = 2 * FALSE_ALARMS / max(1, len(judged))
    why = (
        ""
        if held
        else f"consecutive launches are alike (correlation {carried:.2f}), so that no interval holds"
    )
    return [
        _blind(timing, why)
        if each is None
        else _judged(timing, each, next(differing), level, margin, threshold)
        for timing, each in zip(timings, found, strict=True)
    ]


def _blind(timing: Timing, why: str) -> Finding:
    fewest = min(len(timing.before), len(timing.now))
    few = f"{counted(fewest, 'launch')} a side, a verdict needs {MIN_LAUNCHES}"
    return Finding("can't tell", timing.stage, timing.metric, few if fewest < MIN_LAUNCHES else why)


def _judged(
    timing: Timing, found: Difference, differs: bool, level: float, margin: float, threshold: float
) -> Finding:
    verdict, bound = settled(found.ratio, margin, threshold, differs=differs) or (
        "can't tell",
        smallest_told(found.ratio, found.smallest_seen(level), threshold),
    )
    history = "" if found.known else "; runs of this machine are too few to know its noise"
    return Finding(
        verdict,
        timing.stage,
        timing.metric,
        in_words(verdict, found.ratio, bound, timing.metric)
        + (history if verdict == "can't tell" else "")
        + _modes(timing),
        centre(timing.before),
        centre(timing.now),
        found.ratio,
        bound,
    )


def _modes(timing: Timing) -> str:
    for side, launches in (("before", timing.before), ("now", timing.now)):
        modes = two_modes(launches)
        if modes:
            apart = modes.high / modes.low - 1
            return f"; two modes {side}: {modes.in_low} launches, and {modes.in_high} slower by {apart:.0%}"
    return ""
