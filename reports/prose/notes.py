"""Notes for the terminal: data left out, gradients clipped in most steps, records that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.formatting import counted
from reports.frames.training import clipping_note
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
    """Yield a line on each workload and clipping that binds in most steps; the table's notes have more."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in records(training):
        if row["clip_binding_share"] is not None:
            groups.setdefault((row["workload"], row["clip"]), []).append(row)
    for (workload, clip), rows in groups.items():
        shares = [row["clip_binding_share"] for row in rows if clipping_note(row)]
        if shares:
            least, most = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
            trainings = f"{len(shares)} of {counted(len(rows), 'training')} ({least} to {most} %)"
            length = "sets the length of their gradients"
            yield f"note: {workload}: clip {clip} binds in most steps of {trainings} and {length}"
