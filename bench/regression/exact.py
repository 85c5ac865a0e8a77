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


def describes(row: Metric) -> bool:
    """Say whether a metric only describes a training, as the norm of its gradients does.

    It follows from the seed and whatever else changed, and neither direction is better. A count, as of the
    parts of a structure, must not change all the same.
    """
    return row.kind == "seeded" and row.better == "neither" and row.unit != "count"


def is_worse(row: Metric, before: float, now: float) -> bool:
    """Say whether a value that differs is worse: without a better direction any change is."""
    return row.better == "neither" or (now > before) == (row.better == "lower")


def judge_exact(row: Metric, stage: str, metric: str, before: float | None, now: float | None) -> Finding:
    """Compare two values. One that is lost is worse; a count without a better direction must not change."""
    text = _values(row.name, before, now)
    found = Finding("no change", stage, metric, text, before, now, bound=0.0)
    if before is None and now is None:
        return replace(found, text="unknown in both", bound=None)
    if before is None:
        return replace(found, verdict="improvement", bound=None)
    if now is None:
        return replace(found, verdict="lost", bound=None)
    if _alike(before, now):
        return found
    return replace(
        found,
        verdict="regression" if is_worse(row, before, now) else "improvement",
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


def notes_of_descriptions(before: Mapping[str, Entries], now: Mapping[str, Entries]) -> Iterator[str]:
    """Say which values that only describe a training changed: they are not judged."""
    changed: dict[str, str] = {}
    for stage, entries in before.items():
        for metric, entry in entries.items():
            first, second = entry.get("value"), now.get(stage, {}).get(metric, {}).get("value")
            row = metric_named(metric.partition("[")[0])
            if first is None or second is None or not describes(row) or _alike(first, second):
                continue
            changed.setdefault(metric, f"{metric} of {stage} {_values(row.name, first, second)}")
    if changed:
        what = first_few(list(changed.values()))
        yield f"changed, and not judged, since neither direction is better: {what}"


def _alike(before: float, now: float) -> bool:
    return math.isclose(before, now, rel_tol=_TOLERANCE)


def _values(name: str, before: float | None, now: float | None) -> str:
    return f"{format_value(name, before)} -> {format_value(name, now)}"


def notes_of_counts(before: Mapping[str, Entries], now: Mapping[str, Entries]) -> Iterator[str]:
    stages = [stage for stage in before if incomplete_in(before[stage], now.get(stage, {}))]
    if stages:
        yield (
            f"the FLOPs of {counted(len(stages), 'stage')} are incomplete, so differences are not judged: "
            f"{first_few(stages)}"
        )
