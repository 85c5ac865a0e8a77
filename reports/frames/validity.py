"""Why the timing of a stage that ended well cannot be used."""

from __future__ import annotations

from bench.analysis.statistics import LOOKS
from bench.formatting import counted
from reports.frames.roofline import infer_excess, step_excess
from reports.frames.view import RunView


def infer_fault(view: RunView, infer: str, lower: str) -> str:
    """Say why the timing of an inference is INVALID, or return an empty text."""
    fault = timing_fault(view, infer, "latency_s")
    return fault or ("" if view.smoke else infer_excess(view, infer, lower))


def step_fault(view: RunView, step: str) -> str:
    """Say why the timing of a training step is INVALID, or return an empty text."""
    fault = view.invalid(step) or timing_fault(view, step, "step_latency_s")
    return fault or ("" if view.smoke else step_excess(view, step))


def timing_fault(view: RunView, key: str, metric: str) -> str:
    """Say why a stage's launches give no valid timing, or return an empty text. Smoke runs are not judged."""
    return view.once(("timing fault", key, metric), lambda: _timing_fault(view, key, metric))


def _timing_fault(view: RunView, key: str, metric: str) -> str:
    launches, status = len(view.launch_values(key, metric)), view.status(key)
    if view.smoke or not status.ok:
        return ""
    if status.good == status.disturbed:
        return f"all {counted(status.good, 'launch')} were disturbed"
    if launches < LOOKS[0]:
        return f"too few launches: {launches} (an interval needs {LOOKS[0]})"
    return ""
