"""What each step of a compression did to quality, compared with training on for as long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from reports.frames.training import final_quality
from reports.frames.view import TRAIN_AXES, RunView, Training
from techniques.settings import split

CONTROL = "finetune"
BEFORE, AFTER = "before", "recovered"


def compression_table(view: RunView) -> pd.DataFrame:
    """Return one row for each training × recipe step, formats apart: they change no weights here.

    `quality_<moment>` are the qualities measured around the step, `quality_after` the last of them.
    `vs_control_points` holds it against `finetune`, which changes nothing and trains on for as long.
    """
    rows = list(_rows(view))
    controls = {row["train_key"]: row["quality_after"] for row in rows if row["recipe"] == CONTROL}
    for row in rows:
        control = controls.get(row["train_key"])
        known = control is not None and row["quality_after"] is not None
        row["quality_control"] = control
        row["vs_control_points"] = 100 * (row["quality_after"] - control) if known else None
    moments = dict.fromkeys(column for row in rows for column in row if column.startswith("quality_"))
    derived = ("quality_trained", "quality_after", "quality_control")
    measured = [column for column in moments if column not in derived]
    columns = [
        *(*TRAIN_AXES.values(), "recipe", "step", "position", "state", "reason", "quality_trained"),
        *(*measured, "quality_after", "quality_control", "vs_control_points"),
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
    return {
        **training.axes,
        "recipe": "+".join(parts),
        "step": parts[-1],
        "position": len(parts),
        "state": status.state,
        "reason": status.reason,
        "quality_trained": final_quality(view, training),
        **{f"quality_{name}": quality for name, quality in qualities.items() if name},
        "quality_after": _last(qualities),
        "parameters": _last_of(view, key, "parameters"),
        "nonzero_parameters": _last_of(view, key, "nonzero_parameters"),
        "train_key": training.key,
        "compress_key": key,
    }


def _last_of(view: RunView, key: str, metric: str) -> float | None:
    return _last({name: view.value(key, metric, name) for name in view.qualifiers(key, metric)})


def _last(values: Mapping[str, float | None]) -> float | None:
    """Return the value at the end of a step: recovered, else unqualified, else of the last moment."""
    for name in (AFTER, ""):
        if values.get(name) is not None:
            return values[name]
    later = [value for name, value in values.items() if name != BEFORE and value is not None]
    return later[-1] if later else None
