"""Shifts and slow drift in a series of runs, with a stated rate of false alarms.

Two tests share the rate over the whole series, half of it each:

- a permutation test: whether the runs' order matters, against one or two changes of level. Its statistic is
  the largest contrast of a stretch of runs to all others, on ranks (circular binary segmentation: Olshen,
  Venkatraman, Lucito & Wigler 2004, "Circular binary segmentation for the analysis of array-based DNA copy
  number data"; ranks, so that one wild run moves little).
- Mann and Kendall's test of trend (Kendall's tau of value and place), with Sen's slope (1968) for its size.

Where neither sees anything, nothing is reported. Else the places come from ruptures' optimal partition
(Truong, Oudre & Vayatis 2020, "Selective review of offline change point detection methods"; PELT: Killick,
Fearnhead & Eckley 2012), and each has to pass the permutation test among the runs between its neighbours.
Shifts in one direction become one drift where a straight rise describes them better (Schwarz's criterion).

Both tests assume that runs are exchangeable while nothing changes. A machine that is fast for days and then
slow for days breaks that: its changes are real, but no commit made them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any, Literal

import numpy as np

from bench.analysis.statistics import Interval, ratio_interval
from bench.errors import BenchError

FALSE_ALARM_RATE = 0.05
"""How often a series in which nothing changes gives any alarm."""

MIN_RUNS = 3
"""Runs that a level needs: of fewer, chance alone puts the extreme ones next to each other too often."""

MIN_DRIFT = 3
"""Intervals between runs that a drift spans at least; what is shorter is a shift."""

PERMUTATIONS = 1999

_BARE_MENTION = 2.0
"""Differences in Schwarz's criterion up to this are "not worth more than a bare mention" (Kass & Raftery
1995, "Bayes factors")."""

_MAX_KNOTS = 80
_EXACT_TOLERANCE = 1e-9

_PERMUTATION, _TREND = "permutation", "Mann-Kendall"

Kind = Literal["shift", "drift"]


@dataclass(frozen=True)
class Change:
    """A change between two runs of a series, given by their places from 0.

    `before` is the last run at the old level, `after` the first at the new one: neighbours for a shift. The
    ratio is new over old level, with a 95 % interval that takes the place as given.
    """

    kind: Kind
    before: int
    after: int
    ratio: Interval
    p_value: float
    test: str


def find_changes(values: Sequence[float], *, rate: float = FALSE_ALARM_RATE, seed: int = 0) -> list[Change]:
    """Return the shifts and drifts of a series of positive values, oldest first.

    `rate` is the chance that a series without any change gives an alarm. The same values and seed give the
    same changes. Raises ValueError where a value is not positive, BenchError where ruptures is missing.
    """
    array = np.asarray(values, dtype=float)
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("values must be positive")
    partition = _ruptures()
    logs = np.log(array)
    if len(logs) < 2 * MIN_RUNS or np.ptp(logs) == 0:
        return []
    breaks = _shifts(logs, partition, rate / 2, seed)
    if breaks:
        return [change for group in _groups(logs, breaks) for change in _described(array, group, seed)]
    trend = _trend(logs)
    if trend > rate / 2:
        return []
    whole = _Group(0, len(logs), (_single_break(logs, partition),))
    return [replace(change, p_value=trend, test=_TREND) for change in _described(array, whole, seed)]


def exact_changes(values: Sequence[float]) -> list[Change]:
    """Return each difference between neighbours of a metric that has no noise."""
    found = []
    for place, (old, new) in enumerate(pairwise(values)):
        if math.isclose(old, new, rel_tol=_EXACT_TOLERANCE):
            continue
        ratio = new / old if old else math.inf
        interval = Interval(ratio, ratio, ratio, 1, "exact")
        found.append(Change("shift", place, place + 1, interval, 0.0, "exact"))
    return found


def _ruptures() -> Any:
    try:
        import ruptures
    except ModuleNotFoundError:
        remedy = "pip install 'dl-efficiency-bench[history]', on Python 3.13 or older"
        raise BenchError(f"change points require ruptures; {remedy}") from None
    return ruptures


def _shifts(logs: np.ndarray, partition: Any, level: float, seed: int) -> list[int]:
    """Return where confirmed new levels begin."""
    if _p_value(logs, seed) > level:
        return []
    breaks = _candidates(logs, partition)
    while breaks:
        windows = list(zip([0, *breaks], [*breaks[1:], len(logs)], strict=False))
        # A window's share of the rate is its share of the runs, so that flat stretches between true changes
        # together alarm as rarely as a flat series.
        excess = [_p_value(logs[a:b], seed) * len(logs) / (b - a) for a, b in windows]
        worst = int(np.argmax(excess))
        if excess[worst] <= level:
            break
        del breaks[worst]
    return breaks


def _candidates(logs: np.ndarray, partition: Any) -> list[int]:
    """Return the breaks of the partition of least squared error, each at BIC's price."""
    differences = np.diff(logs)
    noise = float(np.median(np.abs(differences))) / 0.6745 / math.sqrt(2) or float(differences.std())
    search = partition.KernelCPD(kernel="linear", min_size=MIN_RUNS).fit(logs.reshape(-1, 1))
    breaks = search.predict(pen=2 * noise**2 * math.log(len(logs)))[:-1]
    return [int(place) for place in breaks] or [_single_break(logs, partition)]


def _single_break(logs: np.ndarray, partition: Any) -> int:
    search = partition.KernelCPD(kernel="linear", min_size=MIN_RUNS).fit(logs.reshape(-1, 1))
    return int(search.predict(n_bkps=1)[0])


def _p_value(logs: np.ndarray, seed: int) -> float:
    """Return how often runs in random order show a contrast as large as in their own."""
    if len(logs) < 2 * MIN_RUNS:
        return 1.0
    from scipy.stats import rankdata

    ranks = rankdata(logs)
    if np.ptp(ranks) == 0:
        return 1.0
    null = _shuffled(tuple(np.sort(ranks).tolist()), seed)
    found = _contrast(ranks[None, :])[0]
    return float((1 + np.count_nonzero(null >= found - 1e-9)) / (1 + len(null)))


@lru_cache(maxsize=512)
def _shuffled(ranks: tuple[float, ...], seed: int) -> np.ndarray:
    """Return the statistic of these ranks in random orders. Without ties it depends on their number alone."""
    generator = np.random.default_rng(seed)
    return _contrast(generator.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1))


def _contrast(rows: np.ndarray) -> np.ndarray:
    """Return the largest contrast of each row, in units of the variance.

    A stretch in the middle has two places to choose instead of one and pays log n for it, so that the single
    shift, which is the common case, keeps most of its power in short series.
    """
    n = rows.shape[1]
    sums = np.zeros((len(rows), n + 1))
    np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1, out=sums[:, 1:])
    best = np.zeros(len(rows))
    for length in range(MIN_RUNS, n - MIN_RUNS + 1):
        squares = (sums[:, length:] - sums[:, :-length]) ** 2
        squares *= n / (length * (n - length)) / rows[0].var()
        squares[:, 1:-1] -= math.log(n)
        np.maximum(best, squares.max(axis=1), out=best)
    return best


def _trend(logs: np.ndarray) -> float:
    """Return the p value of Mann and Kendall's test."""
    from scipy.stats import kendalltau

    return float(kendalltau(np.arange(len(logs)), logs).pvalue)


@dataclass(frozen=True)
class _Group:
    """Breaks in one direction, and the runs from the break before to the break after them."""

    start: int
    stop: int
    breaks: tuple[int, ...]


def _groups(logs: np.ndarray, breaks: Sequence[int]) -> Iterator[_Group]:
    """Yield neighbouring breaks that go the same way, together."""
    edges = [0, *breaks, len(logs)]
    levels = [float(np.median(logs[a:b])) for a, b in pairwise(edges)]
    rises = [new > old for old, new in pairwise(levels)]
    place = 0
    for _, same in groupby(rises):
        count = len(list(same))
        own = tuple(edges[place + 1 : place + count + 1])
        yield _Group(edges[place], edges[place + count + 1], own)
        place += count


def _described(values: np.ndarray, group: _Group, seed: int) -> Iterator[Change]:
    """Yield a group's shifts, or the one drift that describes them better."""
    logs = np.log(values[group.start : group.stop])
    own = [place - group.start for place in group.breaks]
    drift = _drift(logs, _bic(_squares_of_shifts(logs, own), len(logs), 2 * len(own) + 1))
    if drift:
        before, after = (group.start + place for place in drift)
        ratio = _sen_ratio(values[before : after + 1])
        yield Change("drift", before, after, ratio, _p_value(logs, seed), _PERMUTATION)
        return
    edges = [group.start, *group.breaks, group.stop]
    for a, place, b in zip(edges, edges[1:], edges[2:], strict=False):
        ratio = ratio_interval(values[place:b].tolist(), values[a:place].tolist())
        p_value = _p_value(np.log(values[a:b]), seed)
        yield Change("shift", place - 1, place, ratio, p_value, _PERMUTATION)


def _squares_of_shifts(logs: np.ndarray, breaks: Sequence[int]) -> float:
    """Return the sum of squared distances to the mean of each level."""
    levels = [logs[a:b] for a, b in pairwise([0, *breaks, len(logs)])]
    return sum(float(((level - level.mean()) ** 2).sum()) for level in levels)


def _bic(squares: float, n: int, parameters: int) -> float:
    """Return Schwarz's criterion of a fit with normal errors."""
    return n * math.log(max(squares, 1e-300) / n) + parameters * math.log(n)


def _drift(logs: np.ndarray, bic_of_shifts: float) -> tuple[int, int] | None:
    """Return where a straight rise between two levels begins and ends; None if shifts fit as well.

    Of rises that fit about equally well it is the longest.
    """
    n = len(logs)
    knots = np.unique(np.linspace(0, n - 1, min(n, _MAX_KNOTS)).astype(int))
    begins, ends = (knots[places] for places in np.triu_indices(len(knots), 1))
    long = ends - begins >= MIN_DRIFT
    begins, ends = begins[long, None], ends[long, None]
    rises = np.clip((np.arange(n) - begins) / (ends - begins), 0, 1)
    rises -= rises.mean(axis=1, keepdims=True)
    centred = logs - logs.mean()
    squares = centred @ centred - (rises @ centred) ** 2 / (rises * rises).sum(axis=1)
    fits = np.array([_bic(each, n, 4) for each in squares])
    if not len(fits) or fits.min() > bic_of_shifts - _BARE_MENTION:
        return None
    lengths = np.where(fits <= fits.min() + _BARE_MENTION, (ends - begins)[:, 0], 0)
    longest = int(np.argmax(lengths))
    return int(begins[longest, 0]), int(ends[longest, 0])


def _sen_ratio(values: np.ndarray) -> Interval:
    """Return last over first value by Sen's slope of the logarithms, with its 95 % interval."""
    from scipy.stats import theilslopes

    slope = theilslopes(np.log(values), np.arange(len(values)), alpha=0.95)
    value, low, high = (
        math.exp((len(values) - 1) * each) for each in (slope.slope, slope.low_slope, slope.high_slope)
    )
    return Interval(value, low, high, len(values), "Sen's slope of logarithms")
