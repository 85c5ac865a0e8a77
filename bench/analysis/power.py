"""What a number of paired seeds can tell: the power of Student's test on log ratios.

A difference counts only beyond `resolution`, the part of a ratio that more seeds do not average out: how
precisely one training's time to its target is known.
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

from bench.analysis.to_target import RESOLUTION

ALPHA = 0.05
POWER = 0.8

MIN_SEEDS = 3
MAX_SEEDS = 1000
"""The search for a number of seeds ends here."""

_QUANTILES = 40
"""Points at which the distribution of an uncertain spread is averaged."""

_CERTAIN = 40.0


def power_of(
    difference: float,
    spread: float | np.ndarray,
    seeds: int,
    alpha: float = ALPHA,
    resolution: float = RESOLUTION,
) -> np.ndarray:
    """Return the probability that so many pairs of seeds show a relative `difference`, as 0.1 for 10 %.

    `spread` is the standard deviation of the log ratio of a pair: a number, or an array of any shape that the
    probabilities then have. By the noncentral t distribution (Johnson, Kotz & Balakrishnan 1995, chapter 31).
    """
    from scipy.special import nctdtr, stdtrit  # here, since a command that only lists things must start fast

    spreads = np.asarray(spread, dtype=float)
    effect = math.log1p(difference) - math.log1p(resolution)
    if effect <= 0 or seeds < 2:
        return np.zeros(spreads.shape)
    bound = float(stdtrit(seeds - 1, 1 - alpha / 2))
    with np.errstate(divide="ignore"):
        shift = effect * math.sqrt(seeds) / spreads
    # Far above the bound it is certain, and beyond what the distribution's series can take.
    certain = shift - bound > _CERTAIN
    found: np.ndarray = np.where(certain, 1.0, 1 - nctdtr(seeds - 1, np.where(certain, 0.0, shift), bound))
    return found


def expected_power(
    difference: float,
    spread: float,
    freedom: int,
    seeds: int,
    alpha: float = ALPHA,
    resolution: float = RESOLUTION,
) -> float:
    """Return the power of so many pairs where the spread is itself an estimate with `freedom`.

    The mean over the spreads that fit the estimate (assurance; O'Hagan, Stevens & Campbell 2005). Taking the
    estimate for the truth promises too much: from few seeds it is often far too small.
    """
    from scipy.special import chdtri

    tails = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    likely = spread * np.sqrt(freedom / chdtri(freedom, tails))
    return float(power_of(difference, likely, seeds, alpha, resolution).mean())


def seeds_needed(
    difference: float,
    spread: float,
    freedom: int,
    alpha: float = ALPHA,
    power: float = POWER,
    resolution: float = RESOLUTION,
) -> int | None:
    """Return the least number of seeds that shows a relative `difference` with this power.

    `spread` is the standard deviation of pairs' log ratios, estimated with `freedom`. None where more than
    `MAX_SEEDS` would be needed.
    """
    numbers = range(MIN_SEEDS, MAX_SEEDS + 1)
    place = bisect_left(
        numbers,
        power,
        key=lambda seeds: expected_power(difference, spread, freedom, seeds, alpha, resolution),
    )
    return numbers[place] if place < len(numbers) else None


def detectable(
    spread: float,
    seeds: int,
    alpha: float = ALPHA,
    power: float = POWER,
    resolution: float = RESOLUTION,
) -> float:
    """Return the least relative difference that so many pairs show with this power, taking `spread` as true.

    Infinite where it is above 100 times.
    """
    low, high = math.log1p(resolution), math.log(100)
    if power_of(math.expm1(high), spread, seeds, alpha, resolution) < power:
        return math.inf
    while high - low > 1e-4:
        middle = (low + high) / 2
        if power_of(math.expm1(middle), spread, seeds, alpha, resolution) < power:
            low = middle
        else:
            high = middle
    return math.expm1(high)
