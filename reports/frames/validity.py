"""Why a timing that ended well tells nothing."""

from __future__ import annotations

from bench.analysis.statistics import LOOKS
from bench.formatting import counted
from reports.frames.view import RunView


def timing_fault(view: RunView, key: str, metric: str) -> str:
    """Say why a timed stage's launches make no timing, or return an empty text. A smoke run is not judged."""
    launches, status = len(view.launch_values(key, metric)), view.status(key)
    if view.smoke or not status.ok:
        return ""
    if status.good == status.disturbed:
        return f"all {counted(status.good, 'launch')} were disturbed"
    if launches < LOOKS[0]:
        return f"too few launches: {launches}, and {LOOKS[0]} make an interval"
    return ""
