"""Why the timing of a stage that ended well cannot be used."""

from __future__ import annotations

from bench.analysis.statistics import LOOKS
from bench.formatting import counted
from reports.frames.view import RunView


def timing_fault(view: RunView, key: str, metric: str) -> str:
    """Say why a stage's launches give no valid timing, or return an empty text. Smoke runs are not judged."""
    launches, status = len(view.launch_values(key, metric)), view.status(key)
    if view.smoke or not status.ok:
        return ""
    if status.good == status.disturbed:
        return f"all {counted(status.good, 'launch')} were disturbed"
    if launches < LOOKS[0]:
        return f"too few launches: {launches} (an interval needs {LOOKS[0]})"
    return ""
