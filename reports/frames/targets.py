"""Targets by a rule: what the reference optimizer of a workload reaches with part of its steps to spare.

The rule is the median over seeds of the highest quality in validation that held by three quarters of the
steps. It follows AlgoPerf, whose targets are medians over seeds of a tuned reference's trainings (Dahl et al.
2023, "Benchmarking Neural Network Training Algorithms").
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.analysis.to_target import held_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.frames.view import RunView, Training

SHARE_OF_STEPS = 0.75
_DIGITS = 3

COLUMNS = (
    *("workload", "optimizer", "quality_metric", "target", "target_by_rule", "lowest", "highest"),
    *("seeds", "held_by_the_end", "reason"),
)


def targets_table(view: RunView) -> pd.DataFrame:
    """Return one row for each workload and optimizer of a run whose trainings took all of their steps.

    `lowest` and `highest` are of its seeds; `held_by_the_end` counts those that held the target by the rule
    before their steps were over. The target is rounded down to three digits behind the point.
    """
    groups: dict[tuple[Any, Any], list[Training]] = {}
    for training in view.trainings():
        if training.target is not None and math.isfinite(training.target):
            groups.setdefault((training.axes["workload"], training.axes["optimizer"]), []).append(training)
    return pd.DataFrame([_row(view, trainings) for trainings in groups.values()], columns=list(COLUMNS))


def _row(view: RunView, trainings: Sequence[Training]) -> dict[str, Any]:
    first = trainings[0]
    row = {
        **{column: first.axes[column] for column in ("workload", "optimizer")},
        "quality_metric": first.quality_metric,
        "target": first.target,
        "seeds": len(trainings),
        "reason": next(filter(None, (_unusable(view, training) for training in trainings)), ""),
    }
    if row["reason"]:
        return row
    levels = [_held(view, training, SHARE_OF_STEPS) for training in trainings]
    target = math.floor(statistics.median(levels) * 10**_DIGITS) / 10**_DIGITS
    at_the_end = sum(_held(view, training, 1.0) >= target for training in trainings)
    spread = {"lowest": min(levels), "highest": max(levels)}
    return row | spread | {"target_by_rule": target, "held_by_the_end": at_the_end}


def _held(view: RunView, training: Training, share: float) -> float:
    steps, qualities = (view.curve(training.key, f"curve_{name}") for name in ("step", "quality"))
    found = held_by(qualities, steps, share * (training.steps or 0))
    return -math.inf if found is None else found


def _unusable(view: RunView, training: Training) -> str:
    """Say why a training sets no target; empty where it does."""
    status, seed = view.status(training.key), training.axes["seed"]
    if not status.ok:
        return f"seed {seed} is {status.state}: {status.reason}".rstrip(": ")
    trained = view.value(training.key, "steps_trained")
    if trained is None or training.steps is None or trained < training.steps:
        return f"seed {seed} stopped at its target: run with stop_at_target = false"
    if not math.isfinite(_held(view, training, SHARE_OF_STEPS)):
        return f"seed {seed} has too few evaluations in {100 * SHARE_OF_STEPS:g} % of its steps"
    return ""
