"""What each step of a compression did to quality, compared with its control, which trains as long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from reports.frames.controls import controls
from reports.frames.training import final_quality
from reports.frames.view import TRAIN_AXES, RunView, Training
from techniques.compression import COMPRESSIONS
from techniques.settings import split

BEFORE, AFTER = "before", "recovered"


def compression_table(view: RunView) -> pd.DataFrame:
    """Return one row for each training × recipe step, formats apart: they change no weights here.

    `quality_<moment>` are the qualities measured around the step: `quality_before` it, `quality_applied`
    right after it, whatever the step calls that moment, and `quality_after` its recovery; `recovered_points`
    is what that brought. `budget_steps` is the stated budget of the recovery, or of a student's training,
    `steps_trained` and `training_s` what the step took of it, and `compression_s` all of the step's work.
    `vs_control_points` holds it against the recipe `control` of the same training, which trains as long, and
    is empty where the run has none.
    """
    rows = list(_rows(view))
    known = {(row["train_key"], row["recipe"]): row["quality_after"] for row in rows}
    for row in rows:
        names = (name for name in controls(row["recipe"]) if known.get((row["train_key"], name)) is not None)
        row["control"] = next(names, "")
        control, own = known.get((row["train_key"], row["control"])), row["quality_after"]
        row["quality_control"] = control
        row["vs_control_points"] = None if control is None or own is None else 100 * (own - control)
    moments = dict.fromkeys(column for row in rows for column in row if column.startswith("quality_"))
    derived = ("quality_trained", "quality_before", "quality_applied", "quality_after", "quality_control")
    measured = [column for column in moments if column not in derived]
    columns = [
        *(*TRAIN_AXES.values(), "recipe", "step", "position", "state", "reason", "quality_trained"),
        *("quality_before", *measured, "quality_applied", "quality_after", "recovered_points"),
        *("budget_steps", "steps_trained", "training_s", "compression_s"),
        *("control", "quality_control", "vs_control_points"),
        *("parameters", "nonzero_parameters", "train_key", "compress_key"),
    ]
    return pd.DataFrame(rows, columns=columns)


def _rows(view: RunView) -> Iterator[dict[str, Any]]:
    trainings = {training.key: training for training in view.trainings()}
    seen: set[str] = set()
    for cell in view.cells:
        training = trainings.get(str(cell.stages.get("train") or ""))
        chain = _chain(view, str(cell.stages.get("compress") or ""))
        parts = split(str(cell.axes.get("compression")), "+")
        for position, key in enumerate(chain, start=1):
            if training and key not in seen:
                seen.add(key)
                yield _row(view, training, key, parts[:position])


def _chain(view: RunView, key: str) -> list[str]:
    """Return the keys of a recipe's steps, first to last, that end in this one."""
    chain: list[str] = []
    while key in view.stages and view.stages[key].kind == "compress":
        chain.append(key)
        parents = [parent for parent in view.stages[key].parents if parent not in chain]
        key = next((p for p in parents if p in view.stages and view.stages[p].kind == "compress"), "")
    return chain[::-1]


def _row(view: RunView, training: Training, key: str, parts: list[str]) -> dict[str, Any]:
    status = view.status(key)
    metric = "quality" if view.qualifiers(key, "quality") else training.quality_metric
    qualities = {name: view.value(key, metric, name) for name in view.qualifiers(key, metric)}
    applied, after, budget = _applied(qualities, parts[-1]), _last(qualities), _budget(parts[-1])
    gained = None if applied is None or after is None else 100 * (after - applied)
    return {
        **training.axes,
        "recipe": "+".join(parts),
        "step": parts[-1],
        "position": len(parts),
        "state": status.state,
        "reason": status.reason,
        "quality_trained": final_quality(view, training),
        "quality_before": None,
        **{f"quality_{name}": quality for name, quality in qualities.items() if name},
        "quality_applied": applied,
        "quality_after": after,
        "recovered_points": gained,
        "budget_steps": view.stages[key].request.settings.get(f"{budget}_steps"),
        **{name: view.value(key, name) for name in ("steps_trained", "training_s", "compression_s")},
        "parameters": _last_of(view, key, "parameters"),
        "nonzero_parameters": _last_of(view, key, "nonzero_parameters"),
        "train_key": training.key,
        "compress_key": key,
    }


def _budget(step: str) -> str:
    row = COMPRESSIONS.rows().get(step.partition(":")[0])
    return row.budget if row else "recover"  # of a plug-in that is not loaded now


def _applied(qualities: Mapping[str, float | None], step: str) -> float | None:
    """Return the quality right after a step; None of one that changes nothing before it trains."""
    if _budget(step) == "none":
        return _last(qualities)
    between = [value for name, value in qualities.items() if name not in ("", BEFORE, AFTER)]
    return between[-1] if between else None


def _last_of(view: RunView, key: str, metric: str) -> float | None:
    return _last({name: view.value(key, metric, name) for name in view.qualifiers(key, metric)})


def _last(values: Mapping[str, float | None]) -> float | None:
    """Return the value at the end of a step: recovered, else unqualified, else of the last moment."""
    for name in (AFTER, ""):
        if values.get(name) is not None:
            return values[name]
    later = [value for name, value in values.items() if name != BEFORE and value is not None]
    return later[-1] if later else None
