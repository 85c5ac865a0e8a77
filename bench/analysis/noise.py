"""How far timings of the same thing lie apart: between launches of a run, and between runs of a machine.

A comparison of two runs needs both. Launches of one run share what the machine was like meanwhile, so that
their spread alone says too little: on a machine that drifts by 5 % between runs it finds a slowdown of 5 %
where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.analysis.statistics import Interval, means_of_pairs, ratio_interval

MIN_LAUNCHES = 6
"""Launches a side below which there is no interval and no verdict."""

UNKNOWN_SPREAD = 0.03
"""Standard deviation between runs, on a log scale, of a machine that no history tells of: 3 %."""

KNOWN_AT = 5
"""Steps from run to run from which on the history alone is gone by."""

KEPT_RUNS = 20
"""Runs of a history that count: the latest. Older ones tell of a machine that may have changed."""

_POOLED_FREEDOM = 8
"""How many steps of a timing's own history the pooled history of all timings weighs as much as."""

_MORE_THAN_BEFORE = 1.5
"""Variance of the launches at hand over that by the history, from which on the machine has become noisier."""

_CLIP = 3.0
"""Standard deviations that a step counts as at most: a step that is larger is a change of the code."""


@dataclass(frozen=True)
class Noise:
    """The variance, on a log scale, of one run's timing about what it would be on average over runs."""

    variance: float
    freedom: float
    known: bool

    @property
    def spread(self) -> float:
        return math.sqrt(self.variance)


UNKNOWN = Noise(UNKNOWN_SPREAD**2, _POOLED_FREEDOM, False)


@dataclass(frozen=True)
class Difference:
    """after / before of one timing, with its 95 % interval, and how likely such a difference is by chance.

    `error` is the standard error of the log ratio, with so many degrees of `freedom`.
    """

    ratio: Interval
    error: float
    freedom: float
    known: bool

    @property
    def p_value(self) -> float:
        """Two-sided, of Student's t: how often a difference as large comes where nothing has changed."""
        from scipy.special import stdtr

        if self.error == 0:
            return 0.0 if self.ratio.value != 1 else 1.0
        return float(2 * stdtr(self.freedom, -abs(math.log(self.ratio.value)) / self.error))

    def smallest_seen(self, level: float) -> float:
        """Return the change, as a share, that four of five comparisons would show at this error level."""
        from scipy.special import stdtrit

        quantiles = stdtrit(self.freedom, 1 - level / 2) + stdtrit(self.freedom, 0.8)
        return math.expm1(min(float(quantiles) * self.error, _LARGEST))


_LARGEST = 50.0


def between_runs(histories: Mapping[str, Sequence[float]]) -> dict[str, Noise]:
    """Return the noise of each timing from its history: a value of each run of one machine, in their order.

    From steps between consecutive runs, whose mean square is twice the variance (von Neumann 1941,
    "Distribution of the ratio of the mean square successive difference to the variance"): slow changes of the
    code do not count as noise, and a large step counts as one of three standard deviations. The variances of
    all timings are pooled, and each is moved towards that (Smyth 2004, "Linear models and empirical Bayes
    methods", as limma does): few steps tell little of one timing.
    """
    steps = {
        name: np.abs(np.diff(np.log(np.asarray(values[-KEPT_RUNS:], dtype=float))))
        for name, values in histories.items()
    }
    usual = _median([float(np.median(each)) / 0.6745 for each in steps.values() if len(each)])
    squares = {
        name: np.minimum(each, _CLIP * max(usual, float(np.median(each)) / 0.6745)) ** 2 / 2
        for name, each in steps.items()
        if len(each)
    }
    pooled = _median([float(each.mean()) for each in squares.values()])
    longest = max((len(each) for each in squares.values()), default=0)
    unknown = max(0, KNOWN_AT - longest)
    pooled = (
        (unknown * UNKNOWN.variance + longest * pooled) / (unknown + longest) if longest else UNKNOWN.variance
    )
    found = {}
    for name in histories:
        own = squares.get(name, np.empty(0))
        freedom = _POOLED_FREEDOM + len(own)
        variance = (_POOLED_FREEDOM * pooled + float(own.sum())) / freedom
        found[name] = Noise(variance, freedom, longest >= KNOWN_AT)
    return found


def difference(
    after: Sequence[float], before: Sequence[float], noise: Noise = UNKNOWN, carried: float | None = None
) -> Difference | None:
    """Compare the launches of two runs, each in their order; None where a side has fewer than six.

    `carried` is the correlation of consecutive launches; by default as these launches have it. The variance
    of the log ratio is that of two runs by the machine's history, or, where that is far more, that of the
    launches at hand. Where nothing is known of the machine it is the sum of both.
    """
    if min(len(after), len(before)) < MIN_LAUNCHES:
        return None
    from scipy.special import stdtrit

    ratio = widened(
        ratio_interval(after, before), carry_over([after, before]) if carried is None else carried
    )
    assert ratio.low is not None and ratio.high is not None  # six against six have ranks
    of_launches = (math.log(ratio.high / ratio.low) / 2 / 1.96) ** 2
    of_runs = 2 * noise.variance
    if not noise.known:
        variance = of_runs + of_launches
    else:
        variance = of_launches if of_launches > _MORE_THAN_BEFORE * of_runs else of_runs
    error = math.sqrt(variance)
    half = min(float(stdtrit(noise.freedom, 0.975)) * error, _LARGEST)
    method = (
        "launches and the noise between runs" if noise.known else "launches and a guessed noise between runs"
    )
    interval = replace(
        ratio, low=ratio.value * math.exp(-half), high=ratio.value * math.exp(half), method=method
    )
    return Difference(interval, error, noise.freedom, noise.known)


def widened(ratio: Interval, carried: float) -> Interval:
    """Widen an interval for independent launches by what launches take over from those before them.

    A correlation r of consecutive launches inflates the variance of a mean, by (1 + r) / (1 - r) for many
    launches, hides a part of it from the spread of few, and leaves that spread fewer degrees of freedom
    (Bayley & Hammersley 1946, "The 'effective' number of independent observations in an autocorrelated time
    series", JRSS suppl. 8; Zięba 2010, "Effective number of observations and unbiased estimators of variance
    for autocorrelated data", Metrology and Measurement Systems 17).
    """
    if ratio.low is None or ratio.high is None:
        return ratio
    factor = _widening(min(_MAX_CARRY_OVER, max(0.0, carried)), ratio.n)
    low, high = (ratio.value * (bound / ratio.value) ** factor for bound in (ratio.low, ratio.high))
    return replace(ratio, low=low, high=high)


def _widening(r: float, n: int) -> float:
    """Return the width of an interval of n launches a side over that of independent ones."""
    from scipy.special import stdtrit

    of_mean = 1 + 2 * sum((1 - lag / n) * r**lag for lag in range(1, n))
    inflation = of_mean / (1 - (of_mean - 1) / (n - 1))
    freedom = 2 * (n - 1)
    quantiles = stdtrit([freedom * (1 - r**2) / (1 + r**2), freedom], 0.975)
    return math.sqrt(inflation) * float(quantiles[0] / quantiles[1])


def centre(launches: Sequence[float]) -> float:
    """Return the centre of launches: the median of the geometric means of all pairs (Hodges & Lehmann 1963).

    As robust as needed, and nearly as efficient as the mean.
    """
    return math.exp(float(np.median(means_of_pairs(np.log(np.asarray(launches, dtype=float))))))


def carry_over(series: Iterable[Sequence[float]]) -> float:
    """Return the correlation of consecutive launches, from all series of a machine, each in its order.

    Each series has its own mean, which biases its correlation by about -(1 + 3 r) / n; undone here (Marriott
    & Pope 1954, "Bias in the estimation of autocorrelations"). Half a standard error is added, since too
    little is worse than too much.
    """
    products, squares, count = 0.0, 0.0, 0
    for launches in series:
        logs = np.log(np.asarray(launches, dtype=float))
        centred = logs - logs.mean()
        whole = float(centred @ centred)
        if len(logs) < MIN_LAUNCHES or whole == 0:
            continue
        n = len(logs)
        found = (n**2 / (n - 1) * float(centred[1:] @ centred[:-1]) / whole + 1) / (n - 3)
        products, squares, count = products + n * found, squares + n, count + n
    return products / squares + 0.5 / math.sqrt(count) if count else 0.0


_MAX_CARRY_OVER = 0.9


@dataclass(frozen=True)
class Modes:
    """Two modes of launches: their centres, and how many launches are near each."""

    low: float
    high: float
    in_low: int
    in_high: int


def two_modes(launches: Sequence[float]) -> Modes | None:
    """Return the two modes of launches, None where one is enough.

    The cut that leaves the least variance inside both groups (Jenks 1967) makes two modes where the centres
    are 3.2 + 25 / n standard deviations apart (as Ashman, Bird & Zepf 1994, "Detecting bimodality in
    astronomical datasets", who take n as large): in 2 % of samples of a normal distribution, by simulation.
    Each has two launches and a tenth of all.
    """
    logs = np.sort(np.log(np.asarray(launches, dtype=float)))
    n = len(logs)
    least = max(2, math.ceil(n / 10))
    if n < MIN_LAUNCHES or n < 2 * least:
        return None
    cuts = range(least, n - least + 1)
    inside = [float(logs[:cut].var() * cut + logs[cut:].var() * (n - cut)) for cut in cuts]
    cut = cuts[int(np.argmin(inside))]
    low, high = logs[:cut], logs[cut:]
    spread = math.sqrt(min(inside) / (n - 2))
    if high.mean() - low.mean() <= max((3.2 + 25 / n) * spread, _SMALLEST_STEP):
        return None
    return Modes(math.exp(low.mean()), math.exp(high.mean()), len(low), len(high))


_SMALLEST_STEP = 0.01
"""Log distance of modes below which nobody minds them."""


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else 0.0
