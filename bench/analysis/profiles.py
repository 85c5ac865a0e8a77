"""Optimizers across workloads: performance profiles, AlgoPerf's score and speed-ups, each with an interval.

Times are an array (optimizers, workloads, seeds): what a training needed, infinite where it never reached its
target, NaN where an optimizer was not trained with that seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.statistics import Interval

MAX_RATIO = 4.0
"""Above this many times the best an optimizer counts as if it had never got there."""

POINTS = 100
"""Points at which AlgoPerf reads a profile, from 1 to `MAX_RATIO`."""

MIN_WORKLOADS = 6
"""Fewer workloads cannot settle a difference: even if all agree, a sign test has p > 0.05."""

DRAWS = 4000
_TAIL = 0.025


@dataclass(frozen=True)
class Standing:
    """An optimizer across workloads: its score, and how it compares with the baseline.

    `difference` is its score less the baseline's, `speedup` how many times as fast as the baseline it is;
    None without a baseline. `without` are its scores on all workloads but one, in the workloads' order; empty
    where there is a single workload.
    """

    score: Interval
    difference: Interval | None
    speedup: Interval | None
    without: tuple[float, ...]


def median_times(times: np.ndarray) -> np.ndarray:
    """Return the medians (..., workloads) over seeds (..., workloads, seeds); NaN where there is no seed."""
    ordered = np.sort(times, axis=-1)  # NaN last
    known = (~np.isnan(times)).sum(axis=-1, keepdims=True)
    low, high = np.maximum(known - 1, 0) // 2, np.minimum(known // 2, times.shape[-1] - 1)
    middle = np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1)
    medians: np.ndarray = (middle / 2)[..., 0]
    return medians


def performance_ratios(medians: np.ndarray) -> np.ndarray:
    """Return each time over the best one of its workload, medians being (optimizers, workloads).

    Infinite where an optimizer, or every one, never reached the target.
    """
    best = medians.min(axis=-2, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratios = medians / best
    found: np.ndarray = np.where(np.isinf(medians), np.inf, ratios)
    return found


def performance_profile(ratios: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return one optimizer's profile: τ from 1 to `MAX_RATIO`, and the shares of workloads within τ × best.

    They are the corners of a staircase: a share holds until the next τ (Dolan & Moré 2002).
    """
    steps = sorted(ratio for ratio in ratios if ratio <= MAX_RATIO)
    taus = sorted({1.0, *steps, MAX_RATIO})
    return taus, [sum(step <= tau for step in steps) / len(ratios) for tau in taus]


def integrated_score(ratios: np.ndarray) -> np.ndarray:
    """Return AlgoPerf's scores (...) of ratios (..., workloads): 1 is best everywhere, 0 within 4 nowhere.

    The area under the profile for τ from 1 to 4, by the trapezium rule on 100 points, over 3 (Dahl et al.
    2023, "Benchmarking neural network training algorithms", section 4.5). A step between two points counts as
    a slope, so it errs by up to 0.005.
    """
    shares: np.ndarray = _areas(ratios).mean(axis=-1)
    return shares


def _areas(ratios: np.ndarray) -> np.ndarray:
    """Return what each workload adds to a score: the area from its step on."""
    first = np.linspace(1, MAX_RATIO, POINTS).searchsorted(ratios)
    area: np.ndarray = (POINTS - 1 - first + 0.5 * (first > 0)) / (POINTS - 1)
    return np.where(first < POINTS, area, 0.0)


def speedups(medians: np.ndarray, budgets: np.ndarray, baseline: int) -> np.ndarray:
    """Return how many times as fast as the baseline each optimizer is, (...), over (..., workloads).

    The geometric mean over workloads (Fleming & Wallace 1986). Where either of the two never reached the
    target, both count as at most the smaller of their budgets (optimizers, workloads), so the ratio is then
    nearer to 1 than the truth.
    """
    base, base_budget = medians[..., baseline, :][..., None, :], budgets[..., baseline, :][..., None, :]
    missed = np.isinf(medians) | np.isinf(base)
    horizon = np.where(missed, np.minimum(budgets, base_budget), np.inf)
    logs = np.log(np.minimum(base, horizon)) - np.log(np.minimum(medians, horizon))
    found: np.ndarray = np.exp(logs.mean(axis=-1))
    return found


def standings(
    times: np.ndarray, budgets: np.ndarray | None = None, baseline: int | None = None, draws: int = DRAWS
) -> list[Standing]:
    """Return how each optimizer stands over all workloads.

    Intervals are the middle 95 % of `draws` bootstrap resamples of workloads and, in each of them, of seeds;
    all optimizers share a resample's workloads and seeds. `budgets` are (optimizers, workloads); speed-ups
    need them. Raises ValueError where an optimizer has no seed on a workload.
    """
    medians = median_times(times)
    if np.isnan(medians).any():
        raise ValueError("each optimizer needs a training on each workload")
    ratios = performance_ratios(medians)
    chosen, resampled = bootstrap_medians(times, draws)
    scores, drawn = integrated_score(ratios), integrated_score(performance_ratios(resampled))
    without = _leave_one_out(ratios)
    gains = gained = None
    if baseline is not None and budgets is not None:
        gains = speedups(medians, budgets, baseline)
        gained = speedups(resampled, budgets[:, chosen].swapaxes(0, 1), baseline)
    return [
        Standing(
            _interval(scores[own], drawn[:, own]),
            None
            if baseline is None
            else _interval(scores[own] - scores[baseline], drawn[:, own] - drawn[:, baseline]),
            None if gains is None or gained is None else _interval(gains[own], gained[:, own]),
            tuple(without[own].tolist()),
        )
        for own in range(len(times))
    ]


def bootstrap_medians(times: np.ndarray, draws: int = DRAWS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the workloads of each resample, (draws, workloads), and the medians over its seeds.

    Medians are (draws, optimizers, workloads). Seeds are drawn among those that the same optimizers have, so
    each optimizer keeps its number of seeds.
    """
    generator = np.random.default_rng(seed)
    optimizers, workloads, _ = times.shape
    chosen = generator.integers(0, workloads, (draws, workloads))
    medians = np.empty((draws, workloads, optimizers))
    for workload in range(workloads):
        here = chosen == workload
        medians[here] = _resampled(times[:, workload], int(here.sum()), generator).T
    return chosen, medians.swapaxes(1, 2)


def _resampled(times: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return medians (optimizers, draws) over resamples of the seeds of one workload, (optimizers, seeds)."""
    _, group = np.unique(np.isnan(times), axis=1, return_inverse=True)
    columns = []
    for number in range(group.max() + 1):
        members = np.flatnonzero(group.ravel() == number)
        columns.append(generator.choice(members, (draws, len(members))))
    return median_times(times[:, np.concatenate(columns, axis=1)])


def _leave_one_out(ratios: np.ndarray) -> np.ndarray:
    """Return scores (optimizers, workloads), each without one workload; no columns where there is one."""
    workloads = ratios.shape[1]
    if workloads < 2:
        return np.empty((len(ratios), 0))
    areas = _areas(ratios)
    left: np.ndarray = (areas.sum(axis=1, keepdims=True) - areas) / (workloads - 1)
    return left


def _interval(value: float, drawn: np.ndarray) -> Interval:
    low, high = np.quantile(drawn, (_TAIL, 1 - _TAIL))
    return Interval(float(value), float(low), float(high), len(drawn), "bootstrap over workloads and seeds")


def settled(interval: Interval, no_difference: float) -> bool:
    """Say whether an interval leaves out the value that stands for no difference."""
    return (
        interval.low is not None
        and interval.high is not None
        and not (interval.low <= no_difference <= interval.high)
    )
