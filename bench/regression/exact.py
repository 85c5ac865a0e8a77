"""Judges metrics that have no noise: equal, or better, or worse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bench.formatting import counted, format_value
from bench.metrics import Metric, metric_named
from bench.regression.finding import Finding
from techniques.registry import first_few

_TOLERANCE = 1e-9

Entries = Mapping[str, Mapping[str, Any]]
"""A stage's metrics by name, as a baseline has them."""


def judge_exact(row: Metric, stage: str, metric: str, before: float | None, now: float | None) -> Finding:
    """Compare two values. One that is lost is worse; a count without a better direction must not change."""
    text = f"{format_value(row.name, before)} -> {format_value(row.name, now)}"
    found = Finding("no change", stage, metric, text, before, now, bound=0.0)
    if before is None and now is None:
        return replace(found, text="unknown in both", bound=None)
    if before is None:
        return replace(found, verdict="improvement", bound=None)
    if now is None:
        return replace(found, verdict="lost", bound=None)
    if math.isclose(before, now, rel_tol=_TOLERANCE):
        return found
    worse = row.better == "neither" or (now > before) == (row.better == "lower")
    return replace(
        found,
        verdict="regression" if worse else "improvement",
        bound=None,
        text=_with_change(text, before, now),
    )


def _with_change(text: str, before: float, now: float) -> str:
    return f"{text} ({now / before - 1:+.2%})" if before > 0 and now > 0 else text


def unless_incomplete(finding: Finding, lacking: str) -> Finding:
    """Judge no difference between counts of which one may be too low."""
    judged = finding.verdict in ("no change", "lost", "not comparable")
    if not lacking or judged or not metric_named(finding.metric).operations:
        return finding
    return replace(finding, verdict="not comparable", text=f"{finding.text}, incomplete in {lacking}")


def incomplete_in(before: Entries, now: Entries) -> str:
    """Say where a stage's counts of FLOPs lack an operator, an empty text where both are whole."""

    def lacks(entries: Entries) -> bool:
        return entries.get("flops_complete", {}).get("value") == 0

    places = (("the baseline", lacks(before)), ("this run", lacks(now)))
    return " and ".join(place for place, lacking in places if lacking)


def notes_of_counts(before: Mapping[str, Entries], now: Mapping[str, Entries]) -> Iterator[str]:
    stages = [stage for stage in before if incomplete_in(before[stage], now.get(stage, {}))]
    if stages:
        yield (
            f"the FLOPs of {counted(len(stages), 'stage')} are incomplete, so differences are not judged: "
            f"{first_few(stages)}"
        )
