"""Looks at blocks of paired launches while they come in, at which a comparison may stop.

Looking often finds differences where there are none, unless each look asks for more. All looks ask for as
much here (Pocock 1977, "Group sequential methods in the design and analysis of clinical trials", Biometrika
64), so that together they err as rarely as one look would that came alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from bench.analysis.statistics import Interval, signed_rank_interval

FIRST_LOOK = 6
"""Blocks of the first look: no verdict below six launches a side."""

_GROWTH = 1.35
"""Blocks of a look over those of the one before: further apart, a comparison stops later than it could."""

_GRID = 161
"""Places at which the density of a walk is kept; with twice as many, levels change by less than 0.5 %."""


def looks(most: int) -> tuple[int, ...]:
    """Return the numbers of blocks at which a comparison of at most `most` blocks is looked at."""
    found = []
    count = float(FIRST_LOOK)
    while count * math.sqrt(_GROWTH) < most:
        found.append(round(count))
        count *= _GROWTH
    return (*found, most) if most >= FIRST_LOOK else ()


@cache
def level_of_a_look(looks: tuple[int, ...], level: float) -> float:
    """Return the two-sided error of each look, such that all of them err with probability `level` together.

    The standardized sums at the looks are taken as those of a random walk with normal steps; its way from
    look to look, inside the bounds, is integrated as Armitage, McPherson & Rowe 1969 do ("Repeated
    significance tests on accumulating data", JRSS A 132).
    """
    from scipy.special import ndtri

    if len(looks) < 2:
        return level
    low, high = level / len(looks), level
    for _ in range(20):
        middle = math.sqrt(low * high)
        inside = _stays_inside(looks, -float(ndtri(middle / 2)))
        low, high = (middle, high) if 1 - inside < level else (low, middle)
    return low


def _stays_inside(looks: Sequence[int], bound: float) -> float:
    """Return the probability that |sum / sqrt(blocks)| stays below `bound` at every look."""
    edges = bound * math.sqrt(looks[0]) * np.linspace(-1, 1, _GRID)
    density = np.exp(-(edges**2) / 2 / looks[0]) / math.sqrt(2 * math.pi * looks[0])
    for before, now in pairwise(looks):
        step = math.sqrt(now - before)
        places = bound * math.sqrt(now) * np.linspace(-1, 1, _GRID)
        weights = np.full(_GRID, edges[1] - edges[0])
        weights[[0, -1]] /= 2
        ways = np.exp(-(((places[:, None] - edges[None, :]) / step) ** 2) / 2) / (
            step * math.sqrt(2 * math.pi)
        )
        density, edges = ways @ (weights * density), places
    return float(np.trapezoid(density, edges))


def interval_of_blocks(differences: Sequence[float], level: float) -> Interval:
    """Estimate after / before from the log ratio of each block, with an interval that errs by `level`.

    The order of the sides in a block is random, so that differences are symmetric about their centre
    whatever the noise; then the interval of Wilcoxon's signed ranks holds exactly (Hollander, Wolfe & Chicken
    2014, section 3.3). With blocks too few for such ranks it is Student's, which errs less often than it says
    where tails are heavy (Efron 1969, "Student's t-test under symmetry conditions", JASA 64).
    Below `FIRST_LOOK` blocks there is none.
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n == 0:
        raise ValueError("no blocks")
    if n < FIRST_LOOK:
        return Interval(math.exp(float(np.median(values))), None, None, n, f"{n} blocks are too few")
    by_ranks = signed_rank_interval(values, "blocks", 1 - level)
    return by_ranks if by_ranks.low is not None else _student(values, level)


def _student(values: np.ndarray, level: float) -> Interval:
    from scipy.special import stdtrit

    n = len(values)
    centre = float(values.mean())
    half = float(stdtrit(n - 1, 1 - level / 2) * values.std(ddof=1) / math.sqrt(n))
    low, high = math.exp(centre - half), math.exp(centre + half)
    return Interval(math.exp(centre), low, high, n, "Student on blocks", preliminary=True)


def smallest_seen(differences: Sequence[float], level: float) -> float:
    """Return the change, as a share, that these blocks would have shown in four of five comparisons.

    By the spread of the blocks: (quantile of the look + quantile of 0.8) standard errors.
    """
    from scipy.special import stdtrit

    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n < FIRST_LOOK:
        return math.inf
    error = float(values.std(ddof=1)) / math.sqrt(n)
    return math.expm1(float(stdtrit(n - 1, 1 - level / 2) + stdtrit(n - 1, 0.8)) * error)
