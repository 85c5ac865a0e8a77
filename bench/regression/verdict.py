"""Compares a run with a baseline: exact metrics exactly, timings by launches and the machine's noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from bench.analysis.comparable import differences, fingerprint
from bench.errors import BenchError
from bench.metrics import METRICS
from bench.regression.baseline import (
    collect,
    history_of,
    metric_of,
    names,
    read_baseline,
    read_file,
    refuse_smoke,
    refuse_unfinished,
)
from bench.regression.exact import (
    describes,
    incomplete_in,
    judge_exact,
    notes_of_counts,
    notes_of_descriptions,
    unless_incomplete,
)
from bench.regression.finding import Comparison, Finding
from bench.regression.seeds import judge_seeds, unrepeated
from bench.regression.timing import Timing, judge_timings
from bench.results.store import Store
from techniques.registry import first_few

MAX_DRIFT = 0.05
"""Share by which the last samples of a launch may be slower than its first ones before it is told."""

MARGIN = 0.05
"""Change of a timing that matters, by default: *no change* means none as large."""

_MEANING = {"unit": "unit", "direction": "better", "kind": "kind"}
"""What a metric's values mean: how a message names each field of its row."""

Content = Mapping[str, Any]
"""What a baseline has; see `bench.regression.baseline`."""


def baseline_content(store: Store, name: str, results: Path) -> dict[str, Any]:
    """Return what a baseline has: one that was saved, a file of one, or a run of the store.

    Raises BenchError where it is none of them.
    """
    if name in names(results):
        return read_baseline(name, results)
    if name.endswith(".json") or Path(name).is_file():
        return read_file(Path(name))
    try:
        run_id = store.find_run(name)
    except BenchError:
        return read_baseline(name, results)  # says which there are
    refuse_unfinished(store, run_id)
    return run_content(store, run_id)


def run_content(store: Store, run_id: str, confirming: str = "") -> dict[str, Any]:
    """Return what a baseline of a run would have, but for the history of the run that it is `confirming`.

    Raises BenchError for a smoke run.
    """
    refuse_smoke(store, run_id)
    content = collect(store, run_id)
    return content | {"history": history_of(store, run_id, content["environment"], confirming)}


def check(
    store: Store,
    run_id: str,
    name: str,
    results: Path,
    *,
    margin: float = MARGIN,
    threshold: float = 0.0,
    any_machine: bool = False,
    confirming: str = "",
) -> Comparison:
    """Compare a run with a baseline; raises BenchError where there is none, or nothing in common, and for a
    run that has not finished.

    `any_machine` compares timings of different environments too. The run that this one is `confirming` is no
    part of what the machine's noise is judged by: how far it is off is the question.
    """
    refuse_unfinished(store, run_id)
    before = baseline_content(store, name, results)
    now = run_content(store, run_id, confirming)
    comparison = Comparison("check", f"baseline {name}", f"run {run_id}")
    comparison.notes += _notes_of_environments(before["environment"], now["environment"], any_machine)
    comparison.findings += judge_all(before, now, margin, threshold, any_machine=any_machine)
    comparison.notes += _notes_of_metrics(before["metrics"])
    comparison.notes += notes_of_counts(before["stages"], now["stages"])
    comparison.notes += notes_of_descriptions(before["stages"], now["stages"])
    comparison.notes += notes_of_run(store, run_id)
    if not before["stages"].keys() & now["stages"].keys():
        raise BenchError(
            f"baseline {name} (matrix {before['matrix']}) and run {run_id} (matrix {now['matrix']}) "
            "have no stage in common"
        )
    return comparison


def judge_all(
    before: Content, now: Content, margin: float, threshold: float, *, any_machine: bool
) -> list[Finding]:
    """Judge every metric of two sides; timings of different environments only for `any_machine`."""
    alike = fingerprint(before["environment"]) == fingerprint(now["environment"])
    found = judge_untimed(before, now, alike)
    timings = timings_of(before, now, _longest(before.get("history", {}), now.get("history", {})))
    if alike or any_machine:
        return found + judge_timings(timings, margin, threshold)
    other = "timed on another machine"
    return found + [Finding("not comparable", each.stage, each.metric, other) for each in timings]


def judge_untimed(before: Content, now: Content, alike: bool) -> list[Finding]:
    """Judge every metric of the baseline that is not timed, what is lost, and what is new.

    `alike` says whether both were measured in environments that decide seeded values alike.
    """
    trainings = unrepeated(before["stages"], before["repeats"], now["repeats"])
    findings = list(judge_seeds(trainings, before["stages"], now["stages"]))
    for stage, metrics in before["stages"].items():
        entries = now["stages"].get(stage)
        if entries is None:
            findings.append(Finding("lost", stage, "", "in the baseline but not in this run"))
            continue
        lacking = incomplete_in(metrics, entries)
        for metric, entry in metrics.items():
            row = METRICS[metric_of(metric)]
            elsewhere = metric in entries if row.kind == "sampled" else stage in trainings
            if describes(row) or (row.kind != "exact" and elsewhere):
                continue
            found = _untimed(stage, metric, entry, entries.get(metric), alike)
            findings.append(unless_incomplete(found, lacking))
    new = [stage for stage in now["stages"] if stage not in before["stages"]]
    return findings + [Finding("new", stage, "", "in this run but not in the baseline") for stage in new]


def timings_of(
    before: Content, now: Content, history: Mapping[str, Mapping[str, list[float]]]
) -> list[Timing]:
    """Return the timings that both sides have, each with its history."""
    return [
        Timing(
            stage,
            metric,
            entry["launches"],
            now["stages"][stage][metric]["launches"],
            history.get(stage, {}).get(metric, []),
        )
        for stage, metrics in before["stages"].items()
        for metric, entry in metrics.items()
        if METRICS[metric_of(metric)].kind == "sampled" and metric in now["stages"].get(stage, {})
    ]


def _untimed(stage: str, metric: str, entry: Content, found: Content | None, alike: bool) -> Finding:
    row = METRICS[metric_of(metric)]
    if found is None:
        return Finding("lost", stage, metric, "was measured in the baseline but not in this run")
    if row.kind == "seeded" and not alike:
        return Finding("not comparable", stage, metric, "differs between machines")
    return judge_exact(row, stage, metric, entry["value"], found["value"])


def _longest(*histories: Mapping[str, Mapping[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Return for each timing the longest of several histories: they may have runs in common."""
    found: dict[str, dict[str, list[float]]] = {}
    for history in histories:
        for stage, metrics in history.items():
            for metric, values in metrics.items():
                own = found.setdefault(stage, {})
                own[metric] = max(own.get(metric, []), values, key=len)
    return found


def _notes_of_environments(before: Content, now: Content, any_machine: bool) -> Iterator[str]:
    differing = differences(before, now)
    if fingerprint(before) != fingerprint(now):
        timed = (
            "timings are compared because you asked for it"
            if any_machine
            else "only exact metrics are compared"
        )
        yield f"the baseline's environment differs in {', '.join(differing)}: {timed}"


def _notes_of_metrics(before: Iterable[Content]) -> Iterator[str]:
    """Say which metrics of plug-ins have another meaning than when the baseline was made."""
    for row in before:
        now = METRICS[row["name"]].to_json()
        differing = [name for name, field in _MEANING.items() if row[field] != now[field]]
        if differing:
            what = " and ".join(differing)
            yield f"{row['name']}: its {what} differs from the baseline's; the run's own is used"


def notes_of_run(store: Store, run_id: str) -> Iterator[str]:
    """Say what of a run makes its values less sure, or is left out."""
    yield from _notes_of_drift(store, run_id)
    yield from _notes_of_unreadable(store, run_id)


def _notes_of_drift(store: Store, run_id: str) -> Iterator[str]:
    """Say of which stages the samples got slower inside most launches, though the warm-up had ended."""
    labels = {stage.key: f"{stage.kind} {stage.label}" for stage in store.stages(run_id)}
    drifts: dict[str, list[float]] = {}
    for key, _, _, value, _ in store.values_of(run_id, "samples_drift"):
        if value is not None:
            drifts.setdefault(labels[key], []).append(value)
    slower = {stage: median(values) for stage, values in drifts.items() if median(values) > 1 + MAX_DRIFT}
    if slower:
        most = max(slower.values()) - 1
        yield f"samples get slower within launches, by up to {most:.0%}: {first_few(list(slower))}"


def _notes_of_unreadable(store: Store, run_id: str) -> Iterator[str]:
    labels = {stage.key: f"{stage.kind} {stage.label}" for stage in store.stages(run_id)}
    for record in store.unreadable_records(run_id):
        yield f"a launch of {labels.get(record.stage_key, record.stage_key)} is excluded: {record.reason}"
    unknown = sorted(set(store.measurements(run_id)["metric"]) - METRICS.keys())
    if unknown:
        yield f"not compared, metrics unknown to this version: {first_few(unknown)}"
