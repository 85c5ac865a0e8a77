"""Holds a run against a baseline: exact metrics exactly, timings by launch-level intervals.

A baseline is a JSON file, small enough to keep in git: exact and seeded values, and each launch's value of
the sampled metrics, with the environment they were measured in.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.comparable import deciding, differences, fingerprint
from bench.errors import BenchError
from bench.json_files import read_json
from bench.metrics import COUNTS, CURVES, METRICS, PRIMARY, Metric, counted, format_value, metric_named
from bench.results_folder import refuse_links
from bench.statistics import ratio_interval
from bench.store import Store
from bench.summary import undisturbed
from techniques.registry import first_few, nearest

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1

COMPARED = tuple(PRIMARY.values())
"""Sampled metrics that can regress: those that enough launches are made for. The rest is told, not judged."""

_EXACT_TOLERANCE = 1e-9
_MOST_DETAIL = 160

Verdict = Literal["regression", "improvement", "same", "noise", "missing", "new", "not comparable"]


def _of_this_world(value: float) -> float:
    if not 1e-100 <= value <= 1e100:
        raise ValueError("not a time")
    return value


_Timing = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_of_this_world)]


class _Entry(BaseModel):
    """A metric of a stage: its exact value, or a value for each launch."""

    model_config = ConfigDict(extra="forbid")

    value: float | None = None
    launches: Annotated[list[_Timing], Field(max_length=1000)] = []


def _a_metric(name: str) -> str:
    if name.partition("[")[0] not in METRICS:
        raise ValueError("unknown metric")
    return name


class _BaselineFile(BaseModel):
    version: int
    run: str
    matrix: str
    environment: dict[str, Any]
    stages: dict[str, dict[Annotated[str, AfterValidator(_a_metric)], _Entry]]

    @model_validator(mode="after")
    def _timings_have_launches(self) -> _BaselineFile:
        for stage, entries in self.stages.items():
            for name, entry in entries.items():
                if METRICS[name.partition("[")[0]].kind == "sampled" and not entry.launches:
                    raise ValueError(f"{stage} {name} has no launches")
        return self


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


def save(store: Store, run_id: str, name: str, results: Path) -> Path:
    """Write the values of a finished run's good stages as a baseline; returns the file."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise BenchError(
            f"baseline {name!r}: a name has only letters, digits, '.', '_' and '-', no '.' first"
        )
    if store.run(run_id)["state"] != "finished":
        raise BenchError(f"run {run_id} has not finished; the command it was started with goes on with it")
    _refuse_smoke(store, run_id)
    path = results / "baselines" / f"{name}.json"
    refuse_links(results, "baselines")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with part.open("x") as file:
        json.dump(collect(store, run_id), file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return path


def collect(store: Store, run_id: str) -> dict[str, Any]:
    """Return what a baseline holds of a run."""
    environments = [deciding(content) for content in store.environments(run_id).values()]
    return {
        "version": VERSION,
        "run": run_id,
        "matrix": store.run(run_id)["matrix"],
        "environment": _widest(environments),
        "stages": _values(store.measurements(run_id)),
    }


def check(store: Store, run_id: str, name: str, results: Path, threshold: float) -> Comparison:
    """Compare a run with a baseline; raises BenchError where there is none, or nothing in common."""
    before = _read(name, results)
    _refuse_smoke(store, run_id)
    now = collect(store, run_id)
    comparison = Comparison(name)
    same_machine = _compare_environments(before["environment"], now["environment"], comparison)
    for stage, metrics in before["stages"].items():
        if stage not in now["stages"]:
            comparison.findings.append(Finding("missing", stage, "", "is in the baseline, not in this run"))
            continue
        for metric, entry in metrics.items():
            found = now["stages"][stage].get(metric)
            finding = _judge(stage, metric, entry, found, same_machine, threshold)
            lacking = _incomplete_in(metrics, now["stages"][stage])
            comparison.findings.append(_unless_incomplete(finding, lacking))
    comparison.notes += _notes_of_counts(before["stages"], now["stages"])
    comparison.notes += _notes_of_unreadable(store, run_id)
    for stage in now["stages"].keys() - before["stages"].keys():
        comparison.findings.append(Finding("new", stage, "", "is in this run, not in the baseline"))
    if all(finding.verdict in ("missing", "new") for finding in comparison.findings):
        raise BenchError(
            f"baseline {name} (matrix {before['matrix']}) and run {run_id} (matrix {now['matrix']}) "
            "have no stage in common"
        )
    return comparison


def _notes_of_unreadable(store: Store, run_id: str) -> Iterator[str]:
    labels = {stage.key: f"{stage.kind} {stage.label}" for stage in store.stages(run_id)}
    for record in store.unreadable_records(run_id):
        yield f"a launch of {labels.get(record.stage_key, record.stage_key)} is left out: {record.reason}"
    unknown = sorted(set(store.measurements(run_id)["metric"]) - METRICS.keys())
    if unknown:
        yield f"not compared, no metrics of this version: {first_few(unknown)}"


def _refuse_smoke(store: Store, run_id: str) -> None:
    if store.run(run_id)["request"].get("smoke"):
        raise BenchError(f"run {run_id} is a smoke run: its numbers mean nothing to compare")


def baseline_runs(results: Path) -> set[str]:
    """Return the ids of the runs that the folder's baselines were made from."""
    names = [path.stem for path in (results / "baselines").glob("*.json")]
    return {baseline_run(name, results) for name in names}


def baseline_run(name: str, results: Path) -> str:
    """Return the id of the run that a baseline was made from, empty where there is no such baseline."""
    if not (results / "baselines" / f"{name}.json").is_file():
        return ""
    return str(_read(name, results)["run"])


def verdict_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the notes, what changed, and a last line that counts the verdicts."""
    yield from (f"note: {note}" for note in comparison.notes)
    for finding in comparison.findings:
        if finding.verdict not in ("same", "noise", "not comparable"):
            yield f"{finding.verdict}: {finding.stage} {finding.metric} {finding.text}".replace("  ", " ")
    counts = dict.fromkeys(Verdict.__args__, 0)  # type: ignore[attr-defined]
    for finding in comparison.findings:
        counts[finding.verdict] += 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    yield f"against baseline {comparison.baseline}: {'clean' if comparison.clean else 'REGRESSION'} ({told})"


def _judge(
    stage: str,
    metric: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any] | None,
    same_machine: bool,
    threshold: float,
) -> Finding:
    row = METRICS[metric.partition("[")[0]]
    if now is None:
        return Finding("missing", stage, metric, "was measured in the baseline, not in this run")
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
        or finding.metric not in COUNTS
        or finding.verdict in ("same", "missing", "not comparable")
    ):
        return finding
    text = f"{finding.text}, incomplete in {lacking}"
    return Finding("not comparable", finding.stage, finding.metric, text)


def _notes_of_counts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    stages = [stage for stage in before if _incomplete_in(before[stage], now.get(stage, {}))]
    if stages:
        yield (
            f"the FLOPs of {counted(len(stages), 'stage')} are incomplete, so a difference is not judged: "
            f"{first_few(stages)}"
        )


def _judge_exact(row: Metric, stage: str, metric: str, before: float | None, now: float | None) -> Finding:
    if before is None and now is None:
        return Finding("same", stage, metric, "unknown in both")
    text = f"{format_value(row.name, before)} -> {format_value(row.name, now)}"
    if before is not None and now is not None and math.isclose(before, now, rel_tol=_EXACT_TOLERANCE):
        return Finding("same", stage, metric, text)
    if before is None or now is None or row.better == "neither":
        # Losing a value is worse than having it; a count that has no better side must not change at all.
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
        return Finding("noise", stage, metric, f"x{ratio.value:.3f}, too few launches to say")
    text = f"x{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] of the baseline"
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


def _values(measurements: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return per stage label and metric the exact value, or the values of all launches."""
    stages: dict[str, dict[str, Any]] = {}
    for row in undisturbed(measurements).to_dict("records"):
        metric = metric_named(row["metric"])
        if metric.name not in METRICS:
            continue
        if metric.name in CURVES or (metric.kind == "sampled" and metric.name not in COMPARED):
            continue
        name = metric.name + (f"[{row['qualifier']}]" if row["qualifier"] else "")
        value = None if row["value"] is None or math.isnan(row["value"]) else float(row["value"])
        entries = stages.setdefault(f"{row['kind']} {row['label']}", {})
        if metric.kind != "sampled":
            entries[name] = {"value": value}
        elif value is not None:
            entries.setdefault(name, {"launches": []})["launches"].append(value)
    return stages


def _widest(environments: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the environment of the stages that had the most threads: the timed ones."""
    return max(environments, key=lambda entry: entry.get("threads") or 0, default={})


def _compare_environments(before: Mapping[str, Any], now: Mapping[str, Any], comparison: Comparison) -> bool:
    differing = differences(before, now)
    if fingerprint(before) != fingerprint(now):
        comparison.notes.append(
            f"the baseline's environment differs in {', '.join(differing)}: only exact metrics are compared"
        )
    return fingerprint(before) == fingerprint(now)


def _read(name: str, results: Path) -> dict[str, Any]:
    path = results / "baselines" / f"{name}.json"
    known = [file.stem for file in path.parent.glob("*.json")]
    if name not in known:
        near = nearest(name, known) or "; `bench baseline save NAME` keeps one"
        raise BenchError(f"no baseline {name!r} in {path.parent}{near}")
    try:
        content: dict[str, Any] = read_json(path)
        version = content["version"]
    except (ValueError, KeyError, TypeError):
        raise BenchError(f"{path}: not a baseline; save it again") from None
    if version != VERSION:
        raise BenchError(f"{path}: baseline of version {version}, this one reads {VERSION}; save it again")
    try:
        return _BaselineFile.model_validate(content).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        what = " ".join([*map(str, first["loc"]), first["msg"]])
        raise BenchError(f"{path}: not a baseline: {what[:_MOST_DETAIL]}; save it again") from None
