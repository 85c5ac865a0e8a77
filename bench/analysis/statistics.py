"""Intervals and comparisons: pure functions on arrays.

A timing's unit is the launch: iterations inside a process are not independent of each other, and launches
differ more than iterations do, so intervals come from launch medians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from statistics import NormalDist

import numpy as np

LOOKS = (3, 6, 10, 20)
"""Launch counts at which an interval's width may be looked at; stopping at will loses coverage."""

_EXACT_PRODUCTS = 2500
"""Pairs of launches up to which the ranks of Mann and Whitney's test are counted out."""

_EXACT_RANKS = 60
"""Pairs up to which the ranks of Wilcoxon's signed-rank test are counted out."""

_LARGEST_LOG = 700.0

_FEW = 8
"""NumPy adds fewer values one after the other."""

_MIN_SAMPLES = {0.5: 6, 0.9: 36, 0.99: 368}


@dataclass(frozen=True)
class Interval:
    """An estimate with a 95 % interval; `preliminary` where it leans on a distribution's shape."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str
    preliminary: bool = False

    @property
    def relative_half_width(self) -> float:
        """Half the interval's width over the value; infinite where there is no interval."""
        if self.low is None or self.high is None or self.value == 0:
            return math.inf
        return (self.high - self.low) / 2 / abs(self.value)


def launch_interval(medians: Sequence[float]) -> Interval:
    """Estimate the median over launches, with a 95 % interval.

    Below 2 launches there is no interval, below 6 a Student interval on logarithms (preliminary), from 6 an
    order-statistic interval, which assumes no distribution (David & Nagaraja 2003, section 7.1).
    """
    values = np.sort(np.asarray(medians, dtype=float))
    n = len(values)
    if n == 0:
        raise ValueError("no launches")
    if n == 1:
        return Interval(float(values[0]), None, None, 1, "one launch", preliminary=True)
    if n < 6:
        if values[0] <= 0:
            return Interval(float(np.median(values)), None, None, n, "values not positive", preliminary=True)
        logs = np.log(values)
        half = _student_975(n - 1) * logs.std(ddof=1) / math.sqrt(n)
        centre = logs.mean()
        return Interval(
            float(np.exp(centre)),
            float(np.exp(centre - half)),
            float(np.exp(centre + half)),
            n,
            "Student on log medians",
            preliminary=True,
        )
    low, high = order_statistic_ranks(n, 0.5)
    return Interval(float(np.median(values)), float(values[low]), float(values[high]), n, "order statistics")


def mean_interval(values: Sequence[float]) -> Interval:
    """Estimate a mean with Student's 95 % interval; one value has no interval."""
    n = len(values)
    if n == 0:
        raise ValueError("no values")
    mean, deviation = _few_moments(values) if n < _FEW else _moments(values)
    if n == 1:
        return Interval(mean, None, None, 1, "one value", preliminary=True)
    half = _student_975(n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, "Student", preliminary=n < 6)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    array = np.asarray(values, dtype=float)
    return float(array.mean()), float(array.std(ddof=1))


def _few_moments(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation of few values, as `_moments` and in a tenth of its time."""
    total = squares = 0.0
    for value in values:
        total += float(value)
    mean = total / len(values)
    for value in values:
        squares += (float(value) - mean) * (float(value) - mean)
    return mean, math.sqrt(squares / max(1, len(values) - 1))


def order_statistic_ranks(n: int, quantile: float, confidence: float = 0.95) -> tuple[int, int]:
    """Return 0-based ranks of sorted samples that bracket a quantile with at least `confidence`.

    Raises ValueError where `n` is too small for any bracket.
    """
    tail = (1 - confidence) / 2
    cumulative = np.cumsum(_binomial(n, quantile))
    # Sample `low` is above the quantile with P(at most `low` samples are under it) <= tail; the same above.
    low = int(np.searchsorted(cumulative, tail, side="right")) - 1
    high = int(np.searchsorted(cumulative, 1 - tail, side="left"))
    if low < 0 or high > n - 1:
        raise ValueError(f"{n} samples are too few for an interval of the {quantile:g} quantile")
    return low, high


def _binomial(n: int, p: float) -> np.ndarray:
    """Return the probabilities of 0..n successes.

    By hand, since each timed launch needs them: importing scipy would cost it 0.2 s and add to its memory.
    """
    k = np.arange(n + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_choose = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    probabilities: np.ndarray = np.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p))
    return probabilities


def sample_quantile(samples: Sequence[float], quantile: float) -> Interval | None:
    """Return a quantile of one launch's samples with a 95 % interval, or None where n is too small for one.

    0.5 needs 6 samples, 0.9 needs 36, 0.99 needs 368: with fewer no distribution-free interval exists.
    """
    n = len(samples)
    if n < _MIN_SAMPLES.get(quantile, 6):
        return None
    ordered = np.sort(np.asarray(samples, dtype=float))
    try:
        low, high = order_statistic_ranks(n, quantile)
    except ValueError:
        return None
    value = float(np.quantile(ordered, quantile))
    return Interval(value, float(ordered[low]), float(ordered[high]), n, "order statistics")


def effective_samples(samples: Sequence[float]) -> float:
    """Return the effective sample size for the mean, at most the number of samples.

    n / (1 + 2 Σ ρ_k), the autocorrelations summed in pairs as long as a pair is positive (Geyer 1992,
    "Practical Markov Chain Monte Carlo", section 3.3).
    """
    n = len(samples)
    centred = np.asarray(samples, dtype=float) - np.mean(samples)
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    covariance = np.fft.irfft(power)[:n]
    if covariance[0] <= 0:
        return float(n)
    correlation = covariance / covariance[0]
    pairs = correlation[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if len(negative) else pairs
    return float(min(n, n / max(2 * kept.sum() - 1, 1 / n)))


def relative_spread(samples: Sequence[float]) -> float:
    """Return a robust standard deviation over the median: the middle half's width / 1.349, as of a normal."""
    low, middle, high = np.quantile(np.asarray(samples, dtype=float), (0.25, 0.5, 0.75))
    return float((high - low) / 1.349 / middle) if middle else 0.0


def ratio_interval(after: Sequence[float], before: Sequence[float]) -> Interval:
    """Estimate after / before from launch medians of each, with a 95 % interval.

    The median of all ratios of one launch to another, bounded by the ratios at the ranks that Mann and
    Whitney's test leaves: no distribution is assumed (Hodges & Lehmann 1963; Hollander, Wolfe & Chicken 2014,
    "Nonparametric Statistical Methods", section 4.3). Where the launches are too few for such ranks, as 3
    against 3, the bounds are Welch's on log medians (preliminary). With one launch on either side there are
    none.
    """
    a, b = np.log(np.asarray(after, dtype=float)), np.log(np.asarray(before, dtype=float))
    differences = np.sort((a[:, None] - b[None, :]).ravel())
    value = math.exp(float(np.median(differences)))
    n = min(len(a), len(b))
    if n < 2:
        return Interval(value, None, None, n, "one launch", preliminary=True)
    rank = _mann_whitney_rank(len(a), len(b))
    if rank is None:
        return _welch_ratio(a, b, value)
    low, high = math.exp(differences[rank]), math.exp(differences[-1 - rank])
    return Interval(value, low, high, n, "Mann-Whitney on ratios", preliminary=n < 6)


def paired_ratio_interval(after: Sequence[float], before: Sequence[float]) -> Interval:
    """Estimate after / before from pairs that had the same conditions, with a 95 % interval.

    The median of the means of all pairs of log ratios, each with itself too, bounded at the ranks that
    Wilcoxon's signed-rank test leaves: log ratios need only be symmetric about their centre (Hodges & Lehmann
    1963; Hollander, Wolfe & Chicken 2014, section 3.3). Below 6 pairs there is no interval.
    """
    logs = np.log(np.asarray(after, dtype=float) / np.asarray(before, dtype=float))
    return signed_rank_interval(logs, "pairs")


def signed_rank_interval(logs: np.ndarray, what: str, confidence: float = 0.95) -> Interval:
    """Estimate the ratio whose log the values lie about; no interval where they are too few for ranks.

    `what` names the values. See `paired_ratio_interval`.
    """
    n, means = len(logs), means_of_pairs(logs)
    value = math.exp(float(np.median(means)))
    rank = _signed_rank(n, confidence)
    if rank is None:
        return Interval(value, None, None, n, f"{n} {what} are too few", preliminary=True)
    low, high = math.exp(means[rank]), math.exp(means[-1 - rank])
    return Interval(value, low, high, n, f"Wilcoxon's signed ranks on {what}")


def means_of_pairs(values: np.ndarray) -> np.ndarray:
    """Return the means of all pairs of values, each with itself too, in order (Walsh averages)."""
    first, second = np.triu_indices(len(values))
    return np.sort((values[first] + values[second]) / 2)


@cache
def _signed_rank(n: int, confidence: float = 0.95) -> int | None:
    """Return the 0-based rank from either end of the ordered means of pairs that bounds their centre."""
    if n > _EXACT_RANKS:
        # Too many to count: the normal approximation (Hollander, Wolfe & Chicken, equation 3.10).
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return int(n * (n + 1) / 4 - NormalDist().inv_cdf((1 + confidence) / 2) * spread)
    ways = [1] + [0] * (n * (n + 1) // 2)
    for i in range(1, n + 1):
        for k in range(len(ways) - 1, i - 1, -1):
            ways[k] += ways[k - i]
    return _within_tail(ways, 2**n, confidence)


def _within_tail(ways: Sequence[int], whole: int, confidence: float) -> int | None:
    """Return the largest value of a statistic whose lower tail is at most half of what confidence leaves."""
    within = [u for u, below in enumerate(accumulate(ways)) if below / whole <= (1 - confidence) / 2]
    return within[-1] if within else None


@cache
def _mann_whitney_rank(m: int, n: int, confidence: float = 0.95) -> int | None:
    """Return the 0-based rank from either end of m × n ordered differences that bounds their shift.

    The largest whose tail of Mann and Whitney's U is still within (1 - confidence) / 2; None where none is.
    """
    if m * n > _EXACT_PRODUCTS:
        # Too many to count: the normal approximation (Hollander, Wolfe & Chicken, equation 4.41).
        return int(m * n / 2 - 1.96 * math.sqrt(m * n * (m + n + 1) / 12))
    # Ways in which U comes to each value: the product of (1 - x^(n + i)) / (1 - x^i), i up to m, exactly.
    ways = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for k in range(m * n, n + i - 1, -1):
            ways[k] -= ways[k - n - i]
        for k in range(i, m * n + 1):
            ways[k] += ways[k - i]
    return _within_tail(ways, math.comb(m + n, m), confidence)


def _welch_ratio(a: np.ndarray, b: np.ndarray, value: float) -> Interval:
    n = min(len(a), len(b))
    centre = float(a.mean() - b.mean())
    var_a, var_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error = math.sqrt(var_a + var_b)
    if error == 0:
        return Interval(value, value, value, n, "Welch on log medians", preliminary=True)
    freedom = (var_a + var_b) ** 2 / (var_a**2 / (len(a) - 1) + var_b**2 / (len(b) - 1))
    half = _student_975(freedom) * error
    low, high = min(value, math.exp(centre - half)), max(value, math.exp(min(centre + half, _LARGEST_LOG)))
    return Interval(value, low, high, n, "Welch on log medians", preliminary=True)


@cache
def _student_975(freedom: float) -> float:
    """Return Student's 97.5 % quantile, below 5 degrees of freedom for the integer below.

    Welch's degrees of freedom are an estimate themselves, and a poor one where they are few.
    """
    from scipy.special import stdtrit  # here, since a command that only lists things must start fast

    return float(stdtrit(max(1, math.floor(freedom)) if freedom < 5 else freedom, 0.975))


def pareto_front(costs: Sequence[float], qualities: Sequence[float]) -> list[bool]:
    """Return for each point whether none dominates it, being as cheap and as good and better in one.

    A point with a NaN is neither dominated nor dominates.
    """
    points = list(zip(costs, qualities, strict=True))
    best: dict[float, float] = {}
    for cost, quality in points:
        if not (math.isnan(cost) or math.isnan(quality)):
            best[cost] = max(quality, best.get(cost, quality))
    front: dict[float, float] = {}
    highest: float | None = None
    for cost in sorted(best):
        if highest is None or best[cost] > highest:
            front[cost] = highest = best[cost]
    return [math.isnan(cost) or math.isnan(quality) or front.get(cost) == quality for cost, quality in points]
