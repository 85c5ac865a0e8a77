"""Faster, slower, or can't tell: two optimizers compared over the seeds that both were trained with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.analysis.power import ALPHA, MIN_SEEDS, detectable, seeds_needed
from bench.analysis.statistics import Interval
from bench.analysis.survival import Outcome
from bench.analysis.to_target import RESOLUTION

Verdict = Literal["faster", "slower", "can't tell"]

DIFFERENCE = 0.1
"""The relative difference that a power statement is about, unless another is asked for."""

_LARGEST_LOG = 700.0


@dataclass(frozen=True)
class CommonError:
    """What a ratio has in common in all pairs, as that of two step times: its logarithm with its error.

    `freedom` are the degrees of freedom of the error, at least 1.
    """

    log_ratio: float = 0.0
    error: float = 0.0
    freedom: float = 1.0


@dataclass(frozen=True)
class PairedRatio:
    """What one optimizer needs over what another needs, over paired seeds, with a 95 % interval.

    A ratio below 1 means that the first is faster. Bounds and `p` are None below `MIN_SEEDS` pairs, and where
    no training reached the target; a bound is 0 or infinite on the side that trainings which never reached it
    leave open. `spread` is the standard deviation of pairs' log ratios, `unreached` the pairs of which either
    never got there, `at_first` those of which either was there at the first evaluation. `common_error` is the
    part of the error that more seeds would not lower, and `resolution` the share within which two ratios are
    one.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int
    spread: float = math.nan
    unreached: int = 0
    at_first: int = 0
    common_error: float = 0.0
    resolution: float = RESOLUTION


@dataclass(frozen=True)
class Judged:
    """A ratio with the verdict on the first optimizer, and what more seeds would tell.

    `adjusted` is Holm's p over all pairs that were judged together. Where the verdict is "can't tell",
    `detectable` is the relative difference that these seeds would have seen with 80 % probability, and
    `more_seeds` how many more would show one of `difference`: 0 where these are enough, None where a thousand
    would not do. Both are None where the spread is unknown, as of trainings that missed the target or met it
    at the first evaluation, and where seeds are not all that limits the ratio.
    """

    ratio: PairedRatio
    verdict: Verdict
    adjusted: float | None
    difference: float
    detectable: float | None = None
    more_seeds: int | None = None


def paired_ratio(
    first: Mapping[int, Outcome],
    second: Mapping[int, Outcome],
    *,
    common: CommonError | None = None,
    resolution: float = RESOLUTION,
) -> PairedRatio | None:
    """Compare two optimizers over the seeds that both have; None where they share none.

    Student's interval on log ratios, widened by `resolution`, or by that of the pairs where it is coarser. A
    training that never reached its target counts as the smaller of both budgets, and so does every one that
    took longer: restricted to a common horizon the two are still equally distributed where the optimizers are
    equal (as a restricted mean survival time; Royston & Parmar 2013). One that was there at the first
    evaluation counts as that, and so does every one that took less. The side of the interval that such a
    training leaves open has no bound, so an optimizer that once failed where the other did not is never
    called faster, nor one slower that may have been there long before anybody looked.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    pairs = [(first[seed], second[seed]) for seed in seeds]
    both = common or CommonError()
    logs = _log_ratios(pairs, both.log_ratio)
    own, n = math.fsum(logs) / len(logs), len(logs)
    mean = own + both.log_ratio
    unreached = sum(not (a.reached and b.reached) for a, b in pairs)
    at_first = sum(a.at_most or b.at_most for a, b in pairs)
    found = PairedRatio(_exp(mean), None, None, None, n, unreached=unreached, at_first=at_first)
    if n < 2:
        return found
    spread = math.sqrt(math.fsum((log - own) ** 2 for log in logs) / (n - 1))
    resolution = max(resolution, _resolution(pairs))
    found = replace(found, spread=spread, common_error=both.error, resolution=resolution)
    if n < MIN_SEEDS or math.isinf(both.error) or all(_tied(a, b) for a, b in pairs):
        return found
    return _with_interval(found, pairs, mean, both)


def _with_interval(
    ratio: PairedRatio, pairs: Sequence[tuple[Outcome, Outcome]], mean: float, both: CommonError
) -> PairedRatio:
    """Return a ratio of which `mean` is the logarithm, with its interval and p."""
    margin = math.log1p(ratio.resolution)
    error, freedom = _error_of_mean(ratio.spread, ratio.seeds, both)
    half = margin + error * _student(freedom)
    return replace(
        ratio,
        low=0.0 if any(_may_be_less(a, b) for a, b in pairs) else _exp(mean - half),
        high=math.inf if any(_may_be_less(b, a) for a, b in pairs) else _exp(mean + half),
        p=_tails(max(0.0, abs(mean) - margin), error, freedom),
    )


def _tied(a: Outcome, b: Outcome) -> bool:
    """Say whether neither is known: both missed the target, or both met it at the first evaluation."""
    return not (a.reached or b.reached) or (a.at_most and b.at_most)


def _may_be_less(a: Outcome, b: Outcome) -> bool:
    """Say whether `a` over `b` may be less than what was seen of them, by any factor."""
    return (a.reached and not b.reached) or (a.at_most and not b.at_most)


def _resolution(pairs: Sequence[tuple[Outcome, Outcome]]) -> float:
    """Return by which share a mean ratio may be off, since each time is one between two evaluations."""
    worst = [
        max(0.0 if each.at_most or not each.reached else each.resolution for each in pair)
        for pair in pairs
        if not _tied(*pair)
    ]
    return math.fsum(worst) / len(worst) if worst else 0.0


def _log_ratios(pairs: Sequence[tuple[Outcome, Outcome]], common: float) -> list[float]:
    """Return the log ratio of each pair, within what all were seen of, without what pairs have in common.

    Where neither is known they are equal, whatever they have in common.
    """
    outcomes = [outcome for pair in pairs for outcome in pair]
    for outcome in outcomes:
        if not (outcome.needed > 0 and outcome.budget > 0):
            raise ValueError(f"what is needed and budgets must be positive, got {outcome}")
    missed = [outcome for outcome in outcomes if not outcome.reached]
    horizon = min((outcome.budget for outcome in outcomes), default=math.inf) if missed else math.inf
    if missed and math.isinf(horizon):
        raise ValueError("a training that never reached its target needs a finite budget")
    first = max((outcome.needed for outcome in outcomes if outcome.at_most), default=0.0)

    def log(outcome: Outcome) -> float:
        return math.log(min(max(outcome.needed, first), horizon))

    return [-common if _tied(a, b) else log(a) - log(b) for a, b in pairs]


def _exp(log: float) -> float:
    return math.exp(max(-_LARGEST_LOG, min(log, _LARGEST_LOG)))


def _error_of_mean(spread: float, n: int, common: CommonError) -> tuple[float, float]:
    """Return the standard error of the mean log ratio and its degrees of freedom (Satterthwaite 1946)."""
    own, shared = spread**2 / n, common.error**2
    if own + shared == 0:
        return 0.0, float(n - 1)
    weights = (own / (own + shared), shared / (own + shared))
    return math.sqrt(own + shared), 1 / (weights[0] ** 2 / (n - 1) + weights[1] ** 2 / common.freedom)


def _student(freedom: float) -> float:
    from scipy.special import stdtrit  # here, since a command that only lists things must start fast

    return float(stdtrit(freedom, 1 - ALPHA / 2))


def _tails(distance: float, error: float, freedom: float) -> float:
    """Return Student's two-sided p of a distance from 0 with its standard error."""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return 2 * float(stdtr(freedom, -distance / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for so many tests by Holm's step-down procedure (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def judge(ratios: Iterable[PairedRatio], difference: float = DIFFERENCE) -> list[Judged]:
    """Judge pairs together: the chance that any verdict is wrong about equal optimizers is at most 5 %.

    "Faster" and "slower" need Holm's p of at most 0.05 and an interval that leaves 1 out.
    """
    pairs = list(ratios)
    tested = [ratio.p for ratio in pairs if ratio.p is not None]
    found = iter(holm(tested))
    adjusted = [None if ratio.p is None else next(found) for ratio in pairs]
    verdicts = [_verdict(ratio, p) for ratio, p in zip(pairs, adjusted, strict=True)]
    # What a pair that is not told apart yet has to pass: those that were are behind it in Holm's order.
    open_tests = sum(p is not None and p > ALPHA for p in adjusted)
    alpha = ALPHA / max(1, open_tests)
    return [
        Judged(ratio, verdict, p, difference)
        if verdict != "can't tell" or not _has_known_spread(ratio)
        else _with_power(Judged(ratio, verdict, p, difference), alpha)
        for ratio, verdict, p in zip(pairs, verdicts, adjusted, strict=True)
    ]


def _has_known_spread(ratio: PairedRatio) -> bool:
    """Say whether seeds are all that limits a ratio, and how far they differ is known of each.

    What is restricted to a budget or to the first evaluation differs less than what it stands for.
    """
    return ratio.seeds > 1 and not (ratio.common_error or ratio.unreached or ratio.at_first)


def _verdict(ratio: PairedRatio, adjusted: float | None) -> Verdict:
    if adjusted is None or adjusted > ALPHA or ratio.low is None or ratio.high is None:
        return "can't tell"
    if ratio.high < 1:
        return "faster"
    return "slower" if ratio.low > 1 else "can't tell"


def inverted(judged: Judged) -> Judged:
    """Return the verdict on the second optimizer of a pair."""
    ratio = judged.ratio
    opposite: dict[Verdict, Verdict] = {"faster": "slower", "slower": "faster", "can't tell": "can't tell"}
    return replace(
        judged,
        ratio=replace(ratio, value=1 / ratio.value, low=_inverse(ratio.high), high=_inverse(ratio.low)),
        verdict=opposite[judged.verdict],
    )


def _inverse(bound: float | None) -> float | None:
    return None if bound is None else 1 / bound if bound else math.inf


def _with_power(judged: Judged, alpha: float) -> Judged:
    ratio = judged.ratio
    needed = seeds_needed(
        judged.difference, ratio.spread, ratio.seeds - 1, alpha=alpha, resolution=ratio.resolution
    )
    return replace(
        judged,
        detectable=detectable(ratio.spread, ratio.seeds, alpha=alpha, resolution=ratio.resolution),
        more_seeds=None if needed is None else max(0, needed - ratio.seeds),
    )


def spread_between_seeds(groups: Iterable[Iterable[Outcome]]) -> float | None:
    """Return the standard deviation of the logarithm of what trainings needed, within groups and pooled.

    About the relative one: 0.05 is 5 %. A group is an optimizer's seeds; ones that never reached the target
    are left out. None where no group has two that did.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        logs = [math.log(outcome.needed) for outcome in group if outcome.reached]
        if len(logs) > 1:
            mean = math.fsum(logs) / len(logs)
            squares += math.fsum((log - mean) ** 2 for log in logs)
            freedom += len(logs) - 1
    return math.sqrt(squares / freedom) if freedom else None


def common_error(interval: Interval) -> CommonError:
    """Return a ratio with its 95 % interval, from launches of each side, as what pairs have in common."""
    if interval.low is None or interval.high is None or interval.low <= 0:
        return CommonError(math.log(interval.value), math.inf)
    freedom = max(1.0, interval.n - 1.0)
    half = (math.log(interval.high) - math.log(interval.low)) / 2
    return CommonError(math.log(interval.value), half / _student(freedom), freedom)
