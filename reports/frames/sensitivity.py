"""How sensitive optimizers are: which learning rates and batch sizes of a run reach the target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis.batch_size import critical_batch
from bench.analysis.sensitivity import ReachingRange, reaching_range
from bench.analysis.survival import median_outcome
from bench.formatting import visible
from reports.frames.outcomes import Trained, workload_outcomes
from reports.frames.swept import family
from reports.frames.training import final_quality, training_labels
from reports.frames.view import TRAIN_AXES, RunView, Training

RATE, BATCH_SIZE = "lr", "batch size"

_GROUP = tuple(column for column in TRAIN_AXES.values() if column != "seed")
_WITHOUT_SIZE = tuple(column for column in _GROUP if column != "train_batch_size")
_POINTS = (
    *(*_GROUP, "setting", "value", "seeds", "reached", "states"),
    *("steps_to_target", "samples_to_target", "budget_steps", "quality", "target"),
)
_RANGES = (
    *(*_GROUP, "setting", "values", "reaching", "best", "steps_to_target"),
    *("low", "high", "below", "above", "decades", "most_decades", "best_at_end", "elsewhere"),
    *("critical_batch", "critical_batch_low", "critical_batch_high", "min_steps", "min_samples"),
)


@dataclass(frozen=True)
class Sensitivity:
    """`ranges` has a row for each optimizer × setting of which a run has several values, `points` for each
    value.

    A setting is `lr`, or `batch size`: then each size has the rate that was best at it. `best` is the value
    with the fewest steps.
    """

    ranges: pd.DataFrame
    points: pd.DataFrame


def sensitivity_labels(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name each row's optimizer by what tells it from the others.

    Rows over batch sizes have no batch size.
    """
    known = [{**each, "train_batch_size": each["train_batch_size"] or ""} for each in rows]
    return training_labels(known, known)


def group_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return which optimizer a row of either frame is of."""
    return tuple(row[column] for column in _GROUP)


@dataclass(frozen=True)
class _Seed:
    """A training with what groups it: its optimizer without the rate, the rate, and the batch size used."""

    trained: Trained
    axes: Mapping[str, Any]
    optimizer: str
    rate: float | None
    batch_size: float | None
    quality: float | None
    target: float


def sensitivity(view: RunView) -> Sensitivity:
    """Return how far rates and batch sizes may be off; empty where no optimizer has several.

    Rates are the setting `lr` of the optimizers. Other settings tell optimizers apart. A smoke run has none.
    """
    found = _seeds(view) if _varies(view) else []
    points: list[dict[str, Any]] = []
    ranges: list[dict[str, Any]] = []
    for group, setting, by_value in (*_by_rate(found), *_by_batch_size(found)):
        points += [{**group, "setting": setting, **_point(value, own)} for value, own in by_value.items()]
        ranges.append({**group, "setting": setting, **_range(setting, by_value)})
    return Sensitivity(_frame(ranges, _RANGES), _frame(points, _POINTS))


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    # Rows over batch sizes have no batch size of their own: a gap that would make floats of the others'.
    return pd.DataFrame(rows, columns=list(columns)).astype({"train_batch_size": "Int64"})


def rate_of(training: Training) -> float | None:
    """Return a training's learning rate; None where its optimizer has none, or none that is a number."""
    return _positive(training.optimizer_settings.get("lr"))


def _positive(value: Any) -> float | None:
    """Return a number that is positive and finite; None of anything else, as a store may hold."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and 0 < value < math.inf else None


def _varies(view: RunView) -> bool:
    """Say whether any optimizer of a run has several rates or batch sizes: few runs do."""
    if view.smoke:
        return False
    groups: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    for training in view.trainings():
        axes = training.axes
        group = (axes["workload"], family(str(axes["optimizer"])))
        groups.setdefault(group, set()).add((rate_of(training), axes["train_batch_size"]))
    return any(len(values) > 1 for values in groups.values())


def _seeds(view: RunView) -> list[_Seed]:
    trainings = {training.key: training for training in view.trainings()}
    return [
        _Seed(
            trained,
            trainings[trained.key].axes,
            visible(family(str(trainings[trained.key].axes["optimizer"]))),
            rate_of(trainings[trained.key]),
            _batch_size(view, trainings[trained.key]),
            final_quality(view, trainings[trained.key]) if view.status(trained.key).ok else None,
            one.target,
        )
        for one in workload_outcomes(view, every_rate=True)
        for seeds in one.trained.values()
        for trained in seeds.values()
    ]


def _batch_size(view: RunView, training: Training) -> float | None:
    """Return the samples of a batch: as asked for, or all where the training set has fewer."""
    used, asked = view.value(training.key, "effective_batch_size"), training.axes["train_batch_size"]
    return _positive(asked if used is None else used)


_ByValue = dict[float, list[_Seed]]


def _grouped(
    seeds: Iterable[_Seed], columns: Sequence[str], value: Callable[[_Seed], float | None]
) -> Iterator[tuple[dict[str, Any], _ByValue]]:
    """Yield groups of trainings that agree in these columns and have several values, in ascending order."""
    groups: dict[tuple[Any, ...], _ByValue] = {}
    for seed in seeds:
        own = value(seed)
        if own is not None:
            axes = {**seed.axes, "workload": seed.trained.workload, "optimizer": seed.optimizer}
            group = tuple(axes[column] for column in columns)
            groups.setdefault(group, {}).setdefault(own, []).append(seed)
    for group, by_value in groups.items():
        if len(by_value) > 1:
            yield dict(zip(columns, group, strict=True)), dict(sorted(by_value.items()))


def _by_rate(seeds: Sequence[_Seed]) -> Iterator[tuple[dict[str, Any], str, _ByValue]]:
    for group, by_rate in _grouped(seeds, _GROUP, lambda seed: seed.rate):
        yield group, RATE, by_rate


def _by_batch_size(seeds: Sequence[_Seed]) -> Iterator[tuple[dict[str, Any], str, _ByValue]]:
    for group, by_size in _grouped(seeds, _WITHOUT_SIZE, lambda seed: seed.batch_size):
        yield group, BATCH_SIZE, {size: _at_best_rate(own) for size, own in by_size.items()}


def _at_best_rate(seeds: Sequence[_Seed]) -> list[_Seed]:
    """Return the seeds at the rate with the fewest steps; of several without any, at the first."""
    by_rate: dict[float | None, list[_Seed]] = {}
    for seed in seeds:
        by_rate.setdefault(seed.rate, []).append(seed)
    return min(by_rate.values(), key=lambda own: median_outcome(seed.trained.steps for seed in own))


def _point(value: float, seeds: Sequence[_Seed]) -> dict[str, Any]:
    outcomes = [seed.trained.steps for seed in seeds]
    steps, size = median_outcome(outcomes), seeds[0].batch_size
    qualities = [seed.quality for seed in seeds if seed.quality is not None]
    states = [seed.trained.state for seed in seeds if seed.trained.state != "ok"]
    states += ["censored" for each in outcomes if each.censored]
    return {
        "value": value,
        "seeds": len(seeds),
        "reached": sum(each.reached for each in outcomes),
        "states": ", ".join(dict.fromkeys(states)),
        "steps_to_target": _finite(steps),
        "samples_to_target": None if size is None else _finite(steps * size),
        "budget_steps": min(each.budget for each in outcomes),
        "quality": statistics.median(qualities) if qualities else None,
        "target": seeds[0].target,
    }


def _range(setting: str, by_value: _ByValue) -> dict[str, Any]:
    outcomes = {value: [seed.trained.steps for seed in own] for value, own in by_value.items()}
    found = reaching_range(outcomes)
    reaching = [value for value, own in outcomes.items() if math.isfinite(median_outcome(own))]
    counts = {"values": len(by_value), "reaching": len(reaching)}
    if found is None:
        return counts
    return {
        **counts,
        "best": found.best,
        "steps_to_target": _finite(median_outcome(outcomes[found.best])),
        **_ends(found),
        **(_critical(by_value) if setting == BATCH_SIZE else {}),
    }


def _ends(found: ReachingRange) -> dict[str, Any]:
    return {
        "low": found.low,
        "high": found.high,
        "below": found.below,
        "above": found.above,
        "decades": found.decades,
        "most_decades": _finite(found.most_decades),
        "best_at_end": found.best_at_end,
        "elsewhere": ", ".join(f"{value:g}" for value in found.elsewhere),
    }


def _critical(by_size: _ByValue) -> dict[str, Any]:
    """Fit the sizes at which every seed reached the target: of the others only the quick ones are known."""
    pairs = [
        (size, seed.trained.steps.needed)
        for size, own in by_size.items()
        if all(0 < seed.trained.steps.needed < math.inf for seed in own)
        for seed in own
    ]
    found = critical_batch([size for size, _ in pairs], [needed for _, needed in pairs])
    if found is None:
        return {}
    return {
        "critical_batch": found.size.value,
        "critical_batch_low": found.size.low,
        "critical_batch_high": found.size.high,
        "min_steps": found.min_steps,
        "min_samples": found.min_samples,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
