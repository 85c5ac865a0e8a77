"""What the FLOP counts of a stage lack, as columns: numbers derived from them are lower bounds."""

from __future__ import annotations

from collections.abc import Sequence

from bench.metrics import METRICS
from reports.frames.view import RunView

_PREFIX = "incomplete: "


def flops_incomplete(view: RunView, key: str) -> str:
    """Say what the counts of a stage lack, an empty text where they are whole or none was made."""
    if key not in view.once("keys of incomplete counts", lambda: _lacking(view)):
        return ""
    if view.value(key, "flops_complete") == 0:
        return view.reading(key, "flops_complete").reason or "an operator has no formula"
    metrics = view.once("operation counts", lambda: METRICS.operation_counts)
    return next((reason for metric in metrics if (reason := _lacks(view, key, metric))), "")


def _lacking(view: RunView) -> set[str]:
    """Return the keys of stages of which a count may lack something: few have any."""
    found = {key for metric in METRICS.operation_counts for key in view.reasons(metric)}
    return found | {key for key, complete in view.values("flops_complete").items() if complete == 0}


def incomplete_counts(view: RunView, key: str, metrics: Sequence[str]) -> str:
    """Return which of a stage's counts are incomplete, joined by commas: all, where none says it is."""
    if not flops_incomplete(view, key):
        return ""
    return ", ".join([metric for metric in metrics if _lacks(view, key, metric)] or metrics)


def _lacks(view: RunView, key: str, metric: str) -> str:
    reason = view.reasons(metric).get(key, "")
    lacking = view.value(key, metric) is None or reason.startswith(_PREFIX)
    return reason.removeprefix(_PREFIX) if lacking else ""
