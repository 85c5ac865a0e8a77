"""Simulated launches of the kinds that occur: lognormal, of two modes, with heavy tails, and carried over."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def series(chance: np.random.Generator, count: int, correlation: float, spread: float = 0.03) -> np.ndarray:
    """Return an autoregressive series of launches."""
    values = [chance.normal()]
    for _ in range(count - 1):
        values.append(correlation * values[-1] + math.sqrt(1 - correlation**2) * chance.normal())
    return np.exp(spread * np.array(values))


LAUNCHES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "lognormal": lambda chance, n: np.exp(chance.normal(0, 0.03, n)),
    "two modes": lambda chance, n: np.exp(chance.normal(0, 0.01, n) + 0.2 * (chance.random(n) < 0.3)),
    "heavy tails": lambda chance, n: np.exp(0.02 * chance.standard_t(2.5, n)),
    "carried over": lambda chance, n: series(chance, n, 0.5),
}


def share_that_holds(kind: str, count: int, checks: int, seed: int = 1) -> float:
    """Return how often the interval of a ratio of so many launches a side holds the truth, 1.

    As in a check: the correlation of consecutive launches comes from all of its timings.
    """
    from bench.analysis.noise import carry_over, widened
    from bench.analysis.statistics import ratio_interval

    chance, make = np.random.default_rng(seed), LAUNCHES[kind]
    carried = carry_over(make(chance, count) for _ in range(200))
    held = 0
    for _ in range(checks):
        before, after = make(chance, count), make(chance, count)
        found = widened(ratio_interval(after, before), carried)
        assert found.low is not None and found.high is not None
        held += found.low <= 1 <= found.high
    return held / checks
