"""Judges limits: each is broken, kept, or can't tell, by a value and its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.formatting import at_least, format_interval, format_points, format_value
from bench.matrix.limits import Limit
from bench.metrics import metric_named
from bench.regression.finding import Comparison, Finding, Verdict

_TOLERANCE = 1e-9
"""The share of a bound by which rounding may put a value beyond it: 94 % less 93 % is not quite one point."""

_MAX_NAMED = 10


@dataclass(frozen=True)
class Measured:
    """What a limit is held against: a metric of a stage, in the metric's own unit.

    `low` and `high` bound the value where it has an interval; an infinite `high` says that the value is the
    least that it can be. Of an unknown value, `reason` says why. `excluded` says why there is nothing to
    judge: the cell was skipped, or measures no such thing.
    """

    stage: str
    metric: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    excluded: str = ""


def judge(limit: Limit, measured: Measured) -> Finding:
    """Hold a value against a limit.

    It is broken where the whole interval is beyond the bound, kept where none of it is, and else nothing can
    be told. A value without an interval is taken as it is.
    """
    verdict = _verdict(limit, measured)
    return Finding(
        verdict,
        measured.stage,
        measured.metric,
        _text(limit, measured, verdict),
        after=measured.value,
        limit=limit.asks,
    )


def judged(run_id: str, pairs: Iterable[tuple[Limit, Measured]]) -> Comparison:
    """Hold a run's values against its limits."""
    comparison = Comparison("limits", "its limits", run_id)
    comparison.findings += [judge(limit, measured) for limit, measured in pairs]
    return comparison


def limit_lines(comparison: Comparison) -> list[str]:
    """Return a line that counts what became of the limits, and a line for each of the first broken ones."""
    if not comparison.findings:
        return [f"limits: {note}" for note in comparison.notes]
    broken = [finding for finding in comparison.findings if finding.verdict == "broken"]
    lines = ["limits: " + ", ".join(f"{count} {verdict}" for verdict, count in comparison.counts.items())]
    lines += [f"broken: {one.stage} {one.metric}: {one.text}" for one in broken[:_MAX_NAMED]]
    if len(broken) > _MAX_NAMED:
        lines.append(f"and {len(broken) - _MAX_NAMED} more; bench limits prints them all")
    return lines


def _verdict(limit: Limit, measured: Measured) -> Verdict:
    if measured.excluded:
        return "not comparable"
    value = measured.value
    if value is None or math.isnan(value):
        return "can't tell"
    low = value if measured.low is None else measured.low
    high = value if measured.high is None else measured.high
    kept = [_keeps(limit, end) for end in (low, high)]
    return "kept" if all(kept) else "can't tell" if any(kept) else "broken"


def _keeps(limit: Limit, value: float) -> bool:
    if math.isfinite(value) and math.isclose(value, limit.bound, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE**2):
        return limit.sign in ("<=", ">=")
    return value < limit.bound if limit.sign in ("<", "<=") else value > limit.bound


def _text(limit: Limit, measured: Measured, verdict: Verdict) -> str:
    if measured.excluded:
        return measured.excluded
    if measured.value is None or math.isnan(measured.value):
        return f"unknown, so {limit.asks} cannot be judged: {measured.reason or 'not measured'}"
    if metric_named(limit.metric).unit == "percentage points":
        shown = f"{format_points(measured.value)} points"
    elif measured.high is not None and math.isinf(measured.high):
        shown = at_least(format_value(limit.metric, measured.value))
    else:
        shown = format_interval(limit.metric, measured.value, measured.low, measured.high)
    if verdict == "can't tell":
        return f"{shown} lies on both sides of the limit {limit.asks}"
    return f"{shown}, limit {limit.asks}"
