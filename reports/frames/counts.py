"""What the FLOP counts of a stage lack, as columns: numbers derived from them are lower bounds."""

from __future__ import annotations

from collections.abc import Sequence

from bench.metrics import METRICS
from reports.frames.view import RunView

_PREFIX = "incomplete: "


def flops_incomplete(view: RunView, key: str) -> str:
    """Say what the counts of a stage lack, an empty text where they are whole or none was made."""
    complete = view.reading(key, "flops_complete")
    if complete.value == 0:
        return complete.reason or "an operator has no formula"
    return next(
        (reason for reason in (_lacks(view, key, metric) for metric in METRICS.operation_counts) if reason),
        "",
    )


def incomplete_counts(view: RunView, key: str, metrics: Sequence[str]) -> str:
    """Return which of a stage's counts are incomplete, joined by commas: all, where none says it is."""
    if not flops_incomplete(view, key):
        return ""
    return ", ".join([metric for metric in metrics if _lacks(view, key, metric)] or metrics)


def _lacks(view: RunView, key: str, metric: str) -> str:
    reading = view.reading(key, metric)
    lacking = reading.value is None or reading.reason.startswith(_PREFIX)
    return reading.reason.removeprefix(_PREFIX) if lacking else ""
