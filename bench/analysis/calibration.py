"""Whether a classifier is as sure as it is right: calibration error, Brier score, log-likelihood.

Expected calibration error: Guo et al. 2017 (arXiv:1706.04599), with bins of equal mass (Nguyen & O'Connor
2015). Answers of one confidence, of which a format of few bits leaves many, count as their mean wherever a
bin ends between them: else the error would depend on their order. Brier 1950: the squared distance of the
probabilities from the right class, 0 to 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
RESAMPLES, FEW_RESAMPLES = 200, 50
_MANY = 15_000
"""Of more answers there are few resamples, which are slow."""
_SEED = 0
_NORMAL_975 = 1.959963984540054

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimated:
    """A value, and its 95 % interval by the standard bootstrap over test items; none of a single item."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Answers:
    """One entry for each answer that counts, (answers,), and the number of its test item, from 0.

    `confidence` is the probability of the answer that was given, `right` whether it is right, `squared` the
    Brier score of its probabilities, `nats` the negative logarithm of the right class's.
    """

    item: NDArray[np.int64]
    confidence: Values
    right: Values
    squared: Values
    nats: Values


def calibration_error(confidence: Values, right: Values, weights: Values | None = None) -> float:
    """Return the mean distance, 0 to 1, of confidence from the share right, over `BINS` of equal mass.

    All are (answers,). Answers are weighted, each as 1 without `weights`.
    """
    order = np.argsort(confidence, kind="stable")
    ordered = None if weights is None else weights[order]
    return _error_in_order(confidence[order], right[order], _ties(confidence[order]), ordered)


def calibration(answers: Answers) -> dict[str, Estimated]:
    """Return `ece`, `brier` and `nll`; test items are what is drawn again, with all of their answers."""
    order = np.argsort(answers.confidence, kind="stable")
    item, confidence, right = answers.item[order], answers.confidence[order], answers.right[order]
    squared, nats, ties = answers.squared[order], answers.nats[order], _ties(confidence)
    items = int(item.max()) + 1 if len(item) else 0
    values = (_error_in_order(confidence, right, ties), squared.mean(), nats.mean())
    random = np.random.default_rng(_SEED)
    spread = []
    for _ in range(RESAMPLES if len(item) <= _MANY else FEW_RESAMPLES):
        drawn = np.bincount(random.integers(0, items, items), minlength=items)[item].astype(float)
        total = drawn.sum()
        if total:
            errors = _error_in_order(confidence, right, ties, drawn)
            spread.append((errors, float(drawn @ squared) / total, float(drawn @ nats) / total))
    deviations = np.std(spread, axis=0, ddof=1) if items > 1 and len(spread) > 1 else None
    names = ("ece", "brier", "nll")
    return {name: _estimated(float(values[place]), deviations, place) for place, name in enumerate(names)}


def mean_over_items(values: Values, low: float = 0.0) -> Estimated:
    """Return the mean of one value for each item, (items,), with its interval by the normal distribution.

    No value is below `low`.
    """
    if len(values) < 2:
        return Estimated(float(values.mean()), None, None)
    half = _NORMAL_975 * float(values.std(ddof=1)) / len(values) ** 0.5
    mean = float(values.mean())
    return Estimated(mean, max(low, mean - half), mean + half)


def _ties(confidence: Values) -> NDArray[np.int64] | None:
    """Return the number of each answer's confidence, in ascending order; None where all differ."""
    steps = np.diff(confidence) > 0
    return None if steps.all() else np.concatenate([[0], np.cumsum(steps)])


def _error_in_order(
    confidence: Values, right: Values, ties: NDArray[np.int64] | None, weights: Values | None = None
) -> float:
    weights = np.ones(len(confidence)) if weights is None else weights
    if ties is not None:
        among = np.maximum(np.bincount(ties, weights), np.finfo(float).tiny)
        right = (np.bincount(ties, weights * right) / among)[ties]
    before = np.cumsum(weights) - weights / 2
    total = weights.sum()
    bins = np.minimum((before / total * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, weights * (confidence - right), BINS)).sum() / total)


def _estimated(value: float, deviations: Values | None, place: int) -> Estimated:
    if deviations is None:
        return Estimated(value, None, None)
    half = _NORMAL_975 * float(deviations[place])
    return Estimated(value, max(0.0, value - half), value + half)
