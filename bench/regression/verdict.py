"""Compares a run with a baseline: exact metrics exactly, timings by launch-level intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.analysis.comparable import differences, fingerprint
from bench.analysis.statistics import ratio_interval
from bench.errors import BenchError
from bench.formatting import counted, format_value, three_digits
from bench.metrics import METRICS, Metric, metric_named
from bench.regression.baseline import collect, metric_of, read_baseline, refuse_smoke
from bench.results.store import Store
from techniques.registry import first_few

_EXACT_TOLERANCE = 1e-9

_MEANING = {"unit": "unit", "direction": "better", "kind": "kind"}
"""What a metric's values mean: how a message names each field of its row."""

Verdict = Literal["regression", "improvement", "same", "noise", "missing", "new", "not comparable"]


@dataclass(frozen=True)
class Finding:
    """One metric of one stage, now and in the baseline."""

    verdict: Verdict
    stage: str
    metric: str
    text: str


@dataclass
class Comparison:
    """Everything that a check found. `notes` say what made comparing harder."""

    baseline: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing got worse and nothing that the baseline has is missing."""
        return not any(finding.verdict in ("regression", "missing") for finding in self.findings)


def check(store: Store, run_id: str, name: str, results: Path, threshold: float) -> Comparison:
    """Compare a run with a baseline; raises BenchError where there is none, or nothing in common."""
    before = read_baseline(name, results)
    refuse_smoke(store, run_id)
    now = collect(store, run_id)
    comparison = Comparison(name)
    same_machine = _compare_environments(before["environment"], now["environment"], comparison)
    for stage, metrics in before["stages"].items():
        if stage not in now["stages"]:
            comparison.findings.append(Finding("missing", stage, "", "in the baseline but not in this run"))
            continue
        for metric, entry in metrics.items():
            found = now["stages"][stage].get(metric)
            finding = _judge(stage, metric, entry, found, same_machine, threshold)
            lacking = _incomplete_in(metrics, now["stages"][stage])
            comparison.findings.append(_unless_incomplete(finding, lacking))
    comparison.notes += _notes_of_metrics(before["metrics"])
    comparison.notes += _notes_of_counts(before["stages"], now["stages"])
    comparison.notes += _notes_of_unreadable(store, run_id)
    for stage in now["stages"].keys() - before["stages"].keys():
        comparison.findings.append(Finding("new", stage, "", "in this run but not in the baseline"))
    if all(finding.verdict in ("missing", "new") for finding in comparison.findings):
        raise BenchError(
            f"baseline {name} (matrix {before['matrix']}) and run {run_id} (matrix {now['matrix']}) "
            "have no stage in common"
        )
    return comparison


def _notes_of_metrics(before: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Say which metrics of plug-ins have another meaning than when the baseline was made."""
    for row in before:
        now = METRICS[row["name"]].to_json()
        differing = [name for name, field in _MEANING.items() if row[field] != now[field]]
        if differing:
            what = " and ".join(differing)
            yield f"{row['name']}: its {what} differs from the baseline's; the run's own is used"


def _notes_of_unreadable(store: Store, run_id: str) -> Iterator[str]:
    labels = {stage.key: f"{stage.kind} {stage.label}" for stage in store.stages(run_id)}
    for record in store.unreadable_records(run_id):
        yield f"a launch of {labels.get(record.stage_key, record.stage_key)} is excluded: {record.reason}"
    unknown = sorted(set(store.measurements(run_id)["metric"]) - METRICS.keys())
    if unknown:
        yield f"not compared, metrics unknown to this version: {first_few(unknown)}"


def verdict_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the notes, what changed, and a last line that counts the verdicts."""
    yield from (f"note: {note}" for note in comparison.notes)
    for finding in comparison.findings:
        if finding.verdict not in ("same", "noise", "not comparable"):
            yield f"{finding.verdict}: {finding.stage} {finding.metric} {finding.text}".replace("  ", " ")
    counts = dict.fromkeys(Verdict.__args__, 0)  # type: ignore[attr-defined]
    for finding in comparison.findings:
        counts[finding.verdict] += 1
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    yield f"baseline {comparison.baseline}: {'clean' if comparison.clean else 'REGRESSION'} ({summary})"


def _judge(
    stage: str,
    metric: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any] | None,
    same_machine: bool,
    threshold: float,
) -> Finding:
    row = METRICS[metric_of(metric)]
    if now is None:
        return Finding("missing", stage, metric, "was measured in the baseline but not in this run")
    if row.kind == "sampled":
        return _judge_timing(stage, metric, before["launches"], now["launches"], same_machine, threshold)
    if row.kind == "seeded" and not same_machine:
        return Finding("not comparable", stage, metric, "differs between machines")
    return _judge_exact(row, stage, metric, before["value"], now["value"])


def _incomplete_in(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say where a stage's counts of FLOPs lack an operator, an empty text where both are whole."""

    def lacks(entries: Mapping[str, Any]) -> bool:
        return entries.get("flops_complete", {}).get("value") == 0

    places = (("the baseline", lacks(before)), ("this run", lacks(now)))
    return " and ".join(place for place, lacking in places if lacking)


def _unless_incomplete(finding: Finding, lacking: str) -> Finding:
    """Judge no difference between counts of which one may be too low."""
    if (
        not lacking
        or not metric_named(finding.metric).operations
        or finding.verdict in ("same", "missing", "not comparable")
    ):
        return finding
    text = f"{finding.text}, incomplete in {lacking}"
    return Finding("not comparable", finding.stage, finding.metric, text)


def _notes_of_counts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    stages = [stage for stage in before if _incomplete_in(before[stage], now.get(stage, {}))]
    if stages:
        yield (
            f"the FLOPs of {counted(len(stages), 'stage')} are incomplete, so differences are not judged: "
            f"{first_few(stages)}"
        )


def _judge_exact(row: Metric, stage: str, metric: str, before: float | None, now: float | None) -> Finding:
    if before is None and now is None:
        return Finding("same", stage, metric, "unknown in both")
    text = f"{format_value(row.name, before)} -> {format_value(row.name, now)}"
    if before is not None and now is not None and math.isclose(before, now, rel_tol=_EXACT_TOLERANCE):
        return Finding("same", stage, metric, text)
    if before is None or now is None or row.better == "neither":
        # A lost value is a regression; a count without a better direction must not change at all.
        return Finding("improvement" if before is None else "regression", stage, metric, text)
    worse = now > before if row.better == "lower" else now < before
    return Finding("regression" if worse else "improvement", stage, metric, text)


def _judge_timing(
    stage: str,
    metric: str,
    before: list[float],
    now: list[float],
    same_machine: bool,
    threshold: float,
) -> Finding:
    """A regression needs an interval that excludes 1 and an effect over threshold and noise."""
    if not same_machine:
        return Finding("not comparable", stage, metric, "timed on another machine")
    ratio = ratio_interval(now, before)
    if ratio.low is None or ratio.high is None:
        few = "too few launches for an interval"
        return Finding("noise", stage, metric, f"x{three_digits(ratio.value)}, {few}")
    interval = f"[{three_digits(ratio.low)}, {three_digits(ratio.high)}]"
    text = f"x{three_digits(ratio.value)} {interval} of the baseline"
    needed = 1 + max(threshold, _spread(before), _spread(now))
    if ratio.low > 1 and ratio.value > needed:
        return Finding("regression", stage, metric, f"{text}, slower by more than {needed - 1:.0%}")
    if ratio.high < 1 and ratio.value < 1 / needed:
        return Finding("improvement", stage, metric, text)
    within = "same" if ratio.low <= 1 <= ratio.high else "noise"
    return Finding(within, stage, metric, text)  # type: ignore[arg-type]


def _spread(launches: list[float]) -> float:
    """Return how far launches of one revision lie from each other: the noise of A against A."""
    ordered = sorted(launches)
    quarter = len(ordered) // 4
    return ordered[-1 - quarter] / ordered[quarter] - 1


def _compare_environments(before: Mapping[str, Any], now: Mapping[str, Any], comparison: Comparison) -> bool:
    differing = differences(before, now)
    if fingerprint(before) != fingerprint(now):
        comparison.notes.append(
            f"the baseline's environment differs in {', '.join(differing)}: only exact metrics are compared"
        )
    return fingerprint(before) == fingerprint(now)
