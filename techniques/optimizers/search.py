"""The trials of an optimizer: quasi-random points of what its settings are searched in.

Points are those of a scrambled Halton sequence (Halton 1960; Owen 2017, arXiv:1706.02808), as AlgoPerf draws
them (Dahl et al. 2023). Its first points fill the space evenly too, so that the first five of twenty are five
trials that anybody would have made. The sequence depends on the seed and the number of settings alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from techniques.optimizers.row import OptimizerRow, Span
from techniques.registry import Technique

RATE = "lr"
"""The setting that is moved beyond the edge of what was tried."""

_DIGITS = 4


def searched(optimizer: Technique[OptimizerRow]) -> tuple[str, ...]:
    """Return the settings that trials try: those of the row's space that have their default value."""
    row = optimizer.row
    return tuple(name for name in row.space if optimizer.settings[name] == row.defaults[name])


def trials_of(optimizer: Technique[OptimizerRow], count: int, seed: int) -> list[Technique[OptimizerRow]]:
    """Return the optimizer with the settings of the first `count` trials; a smaller count has their first."""
    names = searched(optimizer)
    spans = [optimizer.row.space[name] for name in names]
    return [
        with_settings(
            optimizer,
            {name: _rounded(span, share) for name, span, share in zip(names, spans, point, strict=True)},
        )
        for point in _points(count, len(names), seed)
    ]


def with_settings(
    optimizer: Technique[OptimizerRow], settings: Mapping[str, float]
) -> Technique[OptimizerRow]:
    """Return the optimizer with these values of settings; raises ValueError where one is out of range."""
    read = {name: optimizer.row.read(name, f"{value:.12g}") for name, value in settings.items()}
    return Technique(optimizer.row, MappingProxyType({**optimizer.settings, **read}))


def _points(count: int, dimensions: int, seed: int) -> Sequence[Sequence[float]]:
    """Return the first points of the sequence, each a share from 0 to 1 for each dimension.

    They are those of Optuna's `QMCSampler(qmc_type="halton", seed=seed)`, which calls SciPy in the same way.
    """
    from scipy.stats import qmc  # which takes a second to import

    points: list[list[float]] = qmc.Halton(dimensions, scramble=True, seed=seed).random(count).tolist()
    return points


def _rounded(span: Span, share: float) -> float:
    """Return the value at a share of a span, in few digits: of 1 - x where it is close to 1."""
    value = span.at(share)
    if span.scale == "complement":
        return 1 - float(f"{1 - value:.{_DIGITS}g}")
    return float(f"{value:.{_DIGITS}g}")
