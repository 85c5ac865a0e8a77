"""The critical batch size: where steps and samples to a target trade one against the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.statistics import Interval

MIN_SIZES = 3
"""Two sizes fit any curve of two parameters exactly, so they say nothing of whether it holds."""

_DECADES = 4.0
"""How far beyond the tested sizes the critical one is looked for."""

_POINTS = 8001


@dataclass(frozen=True)
class CriticalBatch:
    """The trade-off of steps S and samples E = S × B over batch sizes B: (S / S_min - 1)(E / E_min - 1) = 1.

    `size` is E_min / S_min with a 95 % interval: at this batch size a training takes twice the fewest steps
    and twice the fewest samples. A bound is 0 or infinite where the tested sizes leave that side open, and so
    is the value where they show one side of the trade-off alone.
    """

    size: Interval
    min_steps: float
    min_samples: float

    def steps(self, batch_size: float) -> float:
        """Return the steps that a batch size needs: S_min + E_min / B."""
        return self.min_steps + self.min_samples / batch_size


def critical_batch(batch_sizes: Sequence[float], steps: Sequence[float]) -> CriticalBatch | None:
    """Fit the trade-off to steps that trainings at these batch sizes needed, one entry for each training.

    Least squares of log steps; the interval is the profile likelihood's (Bates & Watts 1988, "Nonlinear
    Regression Analysis and Its Applications", section 6.1), with Student's quantile for the error that the
    fit leaves. None below `MIN_SIZES` different sizes. Raises ValueError for numbers that are not positive
    and finite. Source of the model: McCandlish, Kaplan, Amodei et al. 2018, "An Empirical Model of
    Large-Batch Training", section 2.3.
    """
    sizes, needed = np.asarray(batch_sizes, dtype=float), np.asarray(steps, dtype=float)
    if not all(np.isfinite(each).all() and (each > 0).all() for each in (sizes, needed)):
        raise ValueError("batch sizes and steps must be positive and finite")
    if len(np.unique(sizes)) < MIN_SIZES:
        return None
    logs, margin = np.log(needed), _DECADES * math.log(10)
    tried = np.linspace(np.log(sizes.min()) - margin, np.log(sizes.max()) + margin, _POINTS)
    # At both ends one side of the trade-off is all there is: steps, or samples, are the same at any size.
    left = np.concatenate([[0.0], np.exp(tried), [math.inf]])
    shapes = np.vstack([np.log1p(left[:-1, None] / sizes), -np.log(sizes)])
    errors = (logs - shapes).var(axis=1)
    best = int(errors.argmin())
    within = np.flatnonzero(errors <= errors[best] * (1 + _allowed(len(logs) - 2)))
    low, value, high = (float(left[place]) for place in (within[0], best, within[-1]))
    base = math.exp(float((logs - shapes[best]).mean()))
    min_steps, min_samples = (0.0, base) if math.isinf(value) else (base, value * base)
    return CriticalBatch(
        Interval(value, low, high, len(logs), "profile likelihood", preliminary=len(logs) < 6),
        min_steps,
        min_samples,
    )


def _allowed(freedom: int) -> float:
    """Return by which share the squared error may exceed the least one within the 95 % interval."""
    from scipy.special import stdtrit  # here, since a command that only lists things must start fast

    return float(stdtrit(freedom, 0.975)) ** 2 / freedom
