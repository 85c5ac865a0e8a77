"""Whether the interval of a timing is as narrow as its run asked for."""

from __future__ import annotations

from bench.analysis.statistics import Interval
from reports.frames.readings import Reading
from reports.frames.view import RunView


def converged(view: RunView, timing: Reading) -> bool | None:
    """Say whether the interval is within the budget's `target_interval`; None where the budget has none."""
    target = view.run["request"].get("budget", {}).get("target_interval")
    if target is None or timing.value is None:
        return None
    interval = Interval(timing.value, timing.low, timing.high, timing.launches, "")
    return bool(interval.relative_half_width <= target)


def is_preliminary(view: RunView, timing: Reading) -> bool:
    """Say whether a timing rests on few launches, or its run's time budget left its interval too wide."""
    limited = view.run["request"].get("budget", {}).get("budget_s") is not None
    return timing.preliminary or (limited and converged(view, timing) is False)
