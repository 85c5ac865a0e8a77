"""Notes for the terminal: data left out, gradients clipped in most steps, records that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports.frames.training import clipping_note, training_label
from reports.frames.view import RunView, records


def notes(view: RunView) -> Iterator[str]:
    """Yield a line on what was left out of each workload's data, and on each record that cannot be read."""
    left_out = {
        str(training.axes["workload"]): view.reading(training.key, "training_samples").method
        for training in view.trainings()
    }
    yield from (f"note: data of {workload}: {text}" for workload, text in left_out.items() if text)
    for key, reason in view.unreadable:
        if key in view.stages:
            yield f"note: {view.stages[key].kind} {view.stages[key].label}: {reason}"


def clipping_notes(training: pd.DataFrame) -> Iterator[str]:
    """Yield a line on each optimizer whose gradients were clipped in most steps, of the seed with most."""
    rows = records(training)
    most: dict[str, dict[str, Any]] = {}
    for row in rows:
        if clipping_note(row):
            own = [other for other in rows if other["workload"] == row["workload"]]
            name = f"{row['workload']} {training_label(row, own)}"
            most[name] = max(most.get(name, row), row, key=lambda each: each["clip_binding_share"])
    yield from (f"note: {name}: {clipping_note(row)}" for name, row in most.items())
