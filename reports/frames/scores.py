"""Optimizers compared over seeds, and the training that inference is shown for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.frames.swept import are_swept
from reports.frames.training import training_labels
from reports.frames.view import records

_STEP_COLUMNS = (
    *("step_latency_s", "step_latency_low_s", "step_latency_high_s"),
    *("step_latency_launches", "step_latency_preliminary", "step_latency_disturbed"),
)
_COLUMNS = (
    *("workload", "optimizer", "seeds", "reached", "steps_to_target", "steps_trained", "states"),
    *("time_to_target_s", "time_to_target_low_s", "time_to_target_high_s"),
    *(*_STEP_COLUMNS, "quality_metric", "quality"),
)


@dataclass(frozen=True)
class Score:
    """One optimizer (and training setting) over its seeds; medians, None where half of them are censored.

    `time_s` is steps × median step time where the step was timed, else the clocked time. `swept` says that
    the rate was tried beside the optimizer's own.
    """

    label: str
    rows: tuple[dict[str, Any], ...]
    reached: int
    steps: float | None
    time_s: float | None
    time_low_s: float | None
    time_high_s: float | None
    quality: float | None
    swept: bool = False

    @property
    def seeds(self) -> int:
        return len(self.rows)


def optimizer_scores(training: pd.DataFrame, workload: str) -> list[Score]:
    """Return a score for each optimizer of a workload that has ended any training, best steps first."""
    rows = [row for row in records(training) if row["workload"] == workload]
    groups: dict[str, list[dict[str, Any]]] = {}
    swept: dict[str, bool] = {}
    for row, label, out in zip(rows, training_labels(rows, rows), are_swept(rows), strict=True):
        if row["state"] != "pending":
            groups.setdefault(label, []).append(row)
            swept[label] = out
    scores = [_score(label, members, swept[label]) for label, members in groups.items()]
    return sorted(scores, key=lambda score: (_or_never(score.steps), -score.reached, -(score.quality or 0)))


def fastest(scores: Iterable[Score]) -> Score | None:
    """Return the score with the least time to target, else least steps, else the best final quality."""
    return min(
        scores,
        key=lambda score: (_or_never(score.time_s), _or_never(score.steps), -(score.quality or 0)),
        default=None,
    )


def well_trained(scores: Sequence[Score]) -> list[Score]:
    """Return the trainings to serve a model of: those that reached the target, else the best final quality.

    A model that learned nothing loses no quality when it is compressed, so that its loss does not tell.
    """
    best = best_quality(scores)
    return [score for score in scores if score.reached] or ([best] if best else [])


def best_quality(scores: Iterable[Score]) -> Score | None:
    """Return the score with the best final quality."""
    return max(scores, key=lambda score: score.quality or 0.0, default=None)


def scores_table(training: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each workload × optimizer (and training setting) over its seeds, best steps first.

    Steps and times are medians, unknown where half of the seeds or more are censored; `steps_trained` is the
    longest training. `states` names what became of seeds without a result, `censored` among them.
    """
    rows = [
        _score_row(str(workload), score)
        for workload in dict.fromkeys(training["workload"])
        for score in optimizer_scores(training, workload)
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _score_row(workload: str, score: Score) -> dict[str, Any]:
    timed = next((row for row in score.rows if row["step_latency_s"] is not None), score.rows[0])
    trained = max((row["steps_trained"] or 0 for row in score.rows), default=0)
    states = [row["state"] for row in score.rows if row["state"] != "ok"]
    if score.steps is None and trained:
        states.append("censored")
    return {
        "workload": workload,
        "optimizer": score.label,
        "seeds": score.seeds,
        "reached": score.reached,
        "steps_to_target": score.steps,
        "steps_trained": trained,
        "states": ", ".join(dict.fromkeys(states)),
        "time_to_target_s": score.time_s,
        "time_to_target_low_s": score.time_low_s,
        "time_to_target_high_s": score.time_high_s,
        **{column: timed[column] for column in _STEP_COLUMNS},
        "quality_metric": score.rows[0]["quality_metric"],
        "quality": score.quality,
    }


def _score(label: str, rows: list[dict[str, Any]], swept: bool) -> Score:
    times = [_first_known(row["time_to_target_by_steps_s"], row["time_to_target_s"]) for row in rows]
    qualities = [row["quality"] for row in rows if row["quality"] is not None]
    return Score(
        label=label,
        rows=tuple(rows),
        reached=sum(bool(row["target_reached"]) for row in rows),
        steps=_median(row["steps_to_target"] for row in rows),
        time_s=_median(times),
        time_low_s=_median(row["time_to_target_by_steps_low_s"] for row in rows),
        time_high_s=_median(row["time_to_target_by_steps_high_s"] for row in rows),
        quality=statistics.fmean(qualities) if qualities else None,
        swept=swept,
    )


def _median(values: Iterable[float | None]) -> float | None:
    """Take the median with what was never reached as later than anything."""
    median = statistics.median([_or_never(value) for value in values])
    return None if math.isinf(median) else median


def _or_never(value: float | None) -> float:
    return math.inf if value is None else value


def _first_known(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
