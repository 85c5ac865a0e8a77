"""Notes for the terminal: data left out, and records that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from reports.frames.view import RunView


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
