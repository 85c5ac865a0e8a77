"""Two models on the same test items: how much quality is lost, with an interval, and whether it is chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.analysis.statistics import mean_interval

Values = NDArray[np.float64]

RESAMPLES = 1000
_SEED = 0
_NORMAL_975 = 1.959963984540054
_AT_ONCE = 2**22
"""Numbers drawn at once: a resample has as many as there are items."""


@dataclass(frozen=True)
class Loss:
    """Quality before less quality after, with its 95 % interval, and the p of the hypothesis of no loss.

    `lost` items were right before and are wrong now, `won` the other way; None where items are not right or
    wrong. `items` is None where only resamples of them are known. `method` says how interval and p were made.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    items: int | None
    lost: int | None
    won: int | None
    method: str


def loss_of_shares(before: Values, after: Values) -> Loss:
    """Compare shares of right answers of each item, (items,) each, 0 to 1.

    Where all are 0 or 1: McNemar's exact test (1947), and Newcombe's interval of a difference of paired
    proportions (1998, Statistics in Medicine 17, method 10). Else the mean of differences with Student's
    interval and test.
    """
    return losses_of_shares(before[None], after[None])[0]


def losses_of_shares(before: Values, after: Values) -> list[Loss]:
    """Return `loss_of_shares` of each of many pairs, (pairs, items) each."""
    items = before.shape[-1]
    answers = _right_or_wrong(before) & _right_or_wrong(after)
    both = np.count_nonzero((before == 1) & (after == 1), axis=-1)
    lost, won = (np.count_nonzero(side, axis=-1) - both for side in (before, after))
    counts = zip(answers.tolist(), both.tolist(), lost.tolist(), won.tolist(), strict=True)
    return [
        _loss_of_answers(*counted, items) if binary else loss_of_means(before[pair], after[pair])
        for pair, (binary, *counted) in enumerate(counts)
    ]


@cache
def _loss_of_answers(right: int, lost: int, won: int, items: int) -> Loss:
    """Compare right answers by their counts, which many pairs of models have in common."""
    value, low, high = newcombe(right, lost, won, items)
    method = "McNemar's exact test; Newcombe's interval"
    return Loss(value, low, high, mcnemar(lost, won), items, lost, won, method)


def _right_or_wrong(values: Values) -> NDArray[np.bool_]:
    """Say of each row whether all are 0 or 1, (rows,)."""
    found: NDArray[np.bool_] = ((values == 0) | (values == 1)).all(axis=-1)
    return found


def loss_of_means(before: Values, after: Values) -> Loss:
    """Compare the means of values of each item, (items,) each, by Student's paired test and interval."""
    differences = before - after
    interval = mean_interval(differences.tolist())
    return Loss(
        *(interval.value, interval.low, interval.high, _student_p(differences)),
        *(len(before), None, None, "Student's paired test and interval"),
    )


def loss_of_statistic(before: Values, after: Values, statistic: Callable[[Values], Values]) -> Loss:
    """Compare a statistic of items, (items,) each: paired bootstrap, the same items drawn for both.

    `statistic` maps values (..., items) to (...). The interval is the standard bootstrap one
    (Efron & Tibshirani 1993, chapter 12).
    """
    values = statistic(before[None])[0] - statistic(after[None])[0]
    first, second = resampled(np.stack([before, after]), statistic)
    return _standard(float(values), first - second, len(before))


def resampled(values: Values, statistic: Callable[[Values], Values]) -> Values:
    """Return a statistic of resamples of items: (n, resamples) of values (n, items).

    `statistic` maps values (..., items) to (...). Of as many items the same ones are drawn each time.
    """
    random = np.random.default_rng(_SEED)
    items = values.shape[-1]
    drawn = (random.integers(0, items, (count, items)) for count in _portions(RESAMPLES, items))
    return np.concatenate([statistic(values[:, rows]) for rows in drawn], axis=-1)


def loss_of_resamples(before: float, after: float, resamples: tuple[Values, Values]) -> Loss:
    """Compare two qualities by those of the same resamples of the test items, (resamples,) each."""
    count = min(map(len, resamples))
    first, second = (each[:count] for each in resamples)
    return _standard(before - after, first - second, None)


@cache
def mcnemar(lost: int, won: int) -> float:
    """Return the exact p of so many answers lost and won where both are as likely (McNemar 1947)."""
    flips, ways, below = lost + won, 1, 0
    for fewer in range(min(lost, won) + 1):
        below += ways
        ways = ways * (flips - fewer) // (fewer + 1)
    return min(1.0, 2 * below / 2**flips)


def newcombe(right: int, lost: int, won: int, items: int) -> tuple[float, float, float]:
    """Return the difference of paired proportions, before less after, and its 95 % interval.

    Of `items`, `right` are right both times, `lost` only before, `won` only after. Newcombe 1998, method 10.
    """
    wrong = items - right - lost - won
    first, second = (right + lost) / items, (right + won) / items
    (low_1, high_1), (low_2, high_2) = (_wilson(right + one, items) for one in (lost, won))
    product = (right + lost) * (won + wrong) * (right + won) * (lost + wrong)
    excess = float(right * wrong - lost * won)
    excess = max(0.0, excess - items / 2) if excess > 0 else excess
    phi = excess / math.sqrt(product) if product else 0.0
    down, up = (first - low_1, high_2 - second), (high_1 - first, second - low_2)
    value = first - second
    return value, value - _combined(*down, phi), value + _combined(*up, phi)


def false_discovery_rates(p: Sequence[float]) -> list[float]:
    """Return for each p the rate of false discoveries at which it is one (Benjamini & Hochberg 1995)."""
    if not p:
        return []
    from scipy.stats import false_discovery_control

    return [float(rate) for rate in false_discovery_control(p)]


def _wilson(count: int, items: int) -> tuple[float, float]:
    square = _NORMAL_975**2
    share = count / items
    centre = share + square / (2 * items)
    half = _NORMAL_975 * math.sqrt(share * (1 - share) / items + square / (4 * items**2))
    low, high = ((centre + sign * half) / (1 + square / items) for sign in (-1, 1))
    return min(low, share), max(high, share)  # which rounding may pass


def _combined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def _student_p(differences: Values) -> float | None:
    if len(differences) < 2:
        return None
    deviation = float(differences.std(ddof=1))
    if deviation == 0:
        return 1.0 if differences[0] == 0 else 0.0
    from scipy.stats import t

    ratio = abs(float(differences.mean())) / (deviation / math.sqrt(len(differences)))
    return float(2 * t.sf(ratio, len(differences) - 1))


def _standard(value: float, spread: Values, items: int | None) -> Loss:
    if len(spread) < 2:
        return Loss(value, None, None, None, items, None, None, "too few resamples")
    deviation = float(spread.std(ddof=1))
    p = math.erfc(abs(value) / deviation / math.sqrt(2)) if deviation else float(value == 0)
    half = _NORMAL_975 * deviation
    method = f"paired bootstrap of test items, {len(spread):,} resamples"
    return Loss(value, value - half, value + half, p, items, None, None, method)


def _portions(count: int, items: int) -> list[int]:
    most = max(1, _AT_ONCE // max(1, items))
    whole, rest = divmod(count, most)
    return [most] * whole + ([rest] if rest else [])
