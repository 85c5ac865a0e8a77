"""Tuning: each trial of settings, and what the trials of a training cost together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.analysis.to_target import crossing
from bench.formatting import counted
from reports.frames.money import estimate
from reports.frames.view import TRAIN_AXES

if TYPE_CHECKING:
    from reports.frames.view import RunView, Training

TUNING_COLUMNS = (
    *("tuned_settings", "tuned_trial", "rate_at_edge", "tuning_trials", "tuning_trials_reached"),
    *("tuning_steps", "tuning_s", "tuning_evaluation_s", "tuning_energy_j", "tuning_energy_estimate_j"),
    *("steps_to_target_with_tuning", "time_to_target_with_tuning_s"),
)
"""Columns of the table of trainings; empty where a training was not tuned by trials."""

_SPENT = {"tuning_steps": "steps_trained", "tuning_s": "training_s", "tuning_evaluation_s": "evaluation_s"}

_AXES = tuple(column for column in TRAIN_AXES.values() if column != "seed")
_TRIALS = (
    *(*_AXES, "trial", "extension", "tried", "rate", "chosen", "ended", "reason"),
    *("steps_to_target", "quality", "steps_trained", "training_s", "evaluation_s", "trial_key"),
)


def trial_keys(view: RunView, key: str) -> list[str]:
    """Return the keys of the trials that a training goes by, in their order; none where it has none."""
    parents = view.stages[key].parents if key in view.stages else ()
    return [parent for parent in parents if parent in view.stages and view.stages[parent].kind == "trial"]


def tuning_columns(view: RunView, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the trials of a row of the table of trainings chose, and what they cost together.

    Seconds are those of the trials' clocks, unknown where a trial was reused from an earlier run. The time to
    target with tuning counts steps, of the trials too, by the median time of a step where that is known.
    """
    keys = trial_keys(view, row["train_key"])
    if not keys:
        return dict.fromkeys(TUNING_COLUMNS)
    spent = {column: _sum(view, keys, metric) for column, metric in _SPENT.items()}
    steps, seconds = spent["tuning_steps"], spent["tuning_s"]
    step_j, step_s = view.value(row["step_key"], "energy_j"), row["step_latency_s"]
    by_steps_s = None if step_s is None or steps is None else steps * step_s
    estimated_j, _ = estimate(view, seconds if by_steps_s is None else by_steps_s)
    time_s = row["time_to_target_by_steps_s"]
    total_s = _added(time_s, by_steps_s) if time_s is not None else _added(row["time_to_target_s"], seconds)
    return {
        "tuned_settings": _settings_text(view, row["train_key"], "tuned_setting"),
        "tuned_trial": view.value(row["train_key"], "tuned_trial"),
        "rate_at_edge": _yes(view.value(row["train_key"], "rate_at_edge")),
        "tuning_trials": _sum(view, keys, "trial_made"),
        "tuning_trials_reached": view.value(row["train_key"], "tuning_trials_reached"),
        **spent,
        "tuning_energy_j": None if step_j is None or steps is None else step_j * steps,
        "tuning_energy_estimate_j": estimated_j,
        "steps_to_target_with_tuning": _added(row["steps_to_target"], steps),
        "time_to_target_with_tuning_s": total_s,
    }


def tuning_spent(view: RunView, key: str) -> dict[str, float | None]:
    """Return the steps and the clocked seconds of a training's trials; None where it has none."""
    keys = trial_keys(view, key)
    return {
        column: _sum(view, keys, _SPENT[column]) if keys else None for column in ("tuning_steps", "tuning_s")
    }


def tuning_notes(view: RunView, row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a reader has to know of a row's trials."""
    keys = trial_keys(view, row["train_key"])
    if row["rate_at_edge"]:
        yield f"tuned rate at the edge: {view.reading(row['train_key'], 'rate_at_edge').method}"
    lost = sum(view.value(key, "trial_lost") == 1 for key in keys)
    if lost and row["tuning_trials"]:
        yield f"{counted(lost, 'trial')} of {row['tuning_trials']:.0f} diverged or failed"
    if keys and row["tuning_steps"] is not None and row["tuning_s"] is None:
        yield "time of trials unknown: some were reused from an earlier run"


def trials_table(view: RunView) -> pd.DataFrame:
    """Return one row for each trial of each tuned optimizer: what it tried, how it ended, what it took.

    `steps_to_target` is interpolated between evaluations, as the choice is. An optimizer with several numbers
    of trials has the trials that they share once for each.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for training in view.trainings():
        axes = {column: training.axes[column] for column in _AXES}
        for key in trial_keys(view, training.key):
            name = (*axes.values(), key)
            if name not in rows:
                rows[name] = axes | _trial(view, training, key)
    return pd.DataFrame(list(rows.values()), columns=list(_TRIALS))


def _trial(view: RunView, training: Training, key: str) -> dict[str, Any]:
    settings = view.stages[key].request.settings
    number = settings.get("number")
    best = view.value(training.key, "tuned_trial")
    ended, reason = _ended(view, key)
    steps, qualities = view.curve(key, "curve_step"), view.curve(key, "curve_quality")
    target = training.target
    held = crossing(qualities, target) if target is not None and math.isfinite(target) else None
    return {
        "trial": number,
        "extension": settings.get("extension") or 0,
        "tried": _settings_text(view, key, "trial_setting"),
        "rate": view.value(key, "trial_setting", "lr"),
        "chosen": None if best is None else best == number,
        "ended": ended,
        "reason": reason,
        "steps_to_target": held.on(steps) if held and len(steps) == len(qualities) else None,
        "quality": view.value(key, "trial_quality"),
        "steps_trained": view.value(key, "steps_trained"),
        "training_s": view.value(key, "training_s"),
        "evaluation_s": view.value(key, "evaluation_s"),
        "trial_key": key,
    }


def _ended(view: RunView, key: str) -> tuple[str, str]:
    """Return how a trial ended, and why."""
    status, made = view.status(key), view.reading(key, "trial_made")
    if not status.ok:
        return status.state, status.reason
    if made.value == 0:
        return "not needed", made.method
    for metric, how in (("trial_lost", "lost"), ("trial_pruned", "pruned")):
        if view.value(key, metric) == 1:
            return how, view.reading(key, metric).method
    return ("reached" if view.value(key, "target_reached") else "budget"), ""


def _settings_text(view: RunView, key: str, metric: str) -> str:
    named = ((name, view.value(key, metric, name)) for name in view.qualifiers(key, metric))
    return ", ".join(f"{name}={value:g}" for name, value in named if value is not None)


def _sum(view: RunView, keys: list[str], metric: str) -> float | None:
    values = [view.value(key, metric) for key in keys]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _added(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _yes(value: float | None) -> bool | None:
    return None if value is None else bool(value)
