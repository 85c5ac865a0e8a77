"""Puts runs side by side: what each measured, and how each later one compares with the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.analysis.comparable import changed_versions, differences, machine_name
from bench.analysis.statistics import launch_interval
from bench.errors import BenchError
from bench.formatting import counted
from bench.regression.finding import Finding, Verdict
from bench.regression.verdict import Content, judge_all, notes_of_run, run_content
from bench.results.places import place_of
from bench.results.store import Store
from techniques.registry import first_few

_SHORT_REVISION = 12
_LATEST = ("", "latest")
_TELLING: tuple[Verdict, ...] = (
    *("regression", "lost", "improvement", "can't tell", "no change", "not comparable"),
)


@dataclass(frozen=True)
class Side:
    """A run: `name` tells it from the others, `environment` is that of its timed stages."""

    name: str
    run_id: str
    results: Path
    matrix: str
    environment: Mapping[str, Any]
    content: Content
    notes: tuple[str, ...]

    @property
    def machine(self) -> str:
        return machine_name(self.environment)

    @property
    def revision(self) -> str:
        """The commit that it ran from, marked where files had changed; empty where it is unknown."""
        git = self.environment.get("git") or {}
        revision = str(git.get("revision") or "")[:_SHORT_REVISION]
        return f"{revision} with changes" if revision and git.get("changed") else revision


@dataclass(frozen=True)
class Value:
    """What one run has of a row, in the metric's unit; `finding` compares it with the first run."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    launches: int = 0
    finding: Finding | None = None


@dataclass(frozen=True)
class Row:
    """A metric of a stage, with a value for each run; None of a run that has no such stage or metric."""

    stage: str
    metric: str
    values: tuple[Value | None, ...]

    @property
    def verdict(self) -> str:
        """The verdict that says most of those on the later runs; empty where none can be had."""
        found = {value.finding.verdict for value in self.values if value and value.finding}
        return next((verdict for verdict in _TELLING if verdict in found), "")

    @property
    def largest_change(self) -> float:
        """How many times as large the largest value is as the smallest; 1 where that says nothing."""
        known = [value.value for value in self.values if value and value.value is not None]
        return max(known) / min(known) if known and min(known) > 0 else 1.0


@dataclass(frozen=True)
class SideBySide:
    """Runs side by side; `notes` say what is not comparable, and what makes values less sure."""

    sides: tuple[Side, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many rows have each verdict, the most telling first; those without one are left out."""
        found = Counter(row.verdict for row in self.rows)
        return {verdict: found[verdict] for verdict in _TELLING if found[verdict]}


def compare_runs(
    runs: Sequence[str], results: Path, url: str = "", *, margin: float, threshold: float = 0.0
) -> SideBySide:
    """Read two or more runs and compare each with the first.

    A run is an id or its beginning in `results`, or a path of a run's folder or of a results folder, whose
    latest run is meant. Timings are judged whatever the machines are: the notes say in what they differ.
    Raises BenchError where a run is missing or a smoke run, and where the runs have no stage in common.
    """
    if len(runs) < 2:
        raise BenchError("compare takes two runs or more: ids, or paths of run folders or results folders")
    sides = _named([_read(run, results, url) for run in runs])
    first, *others = sides
    if not any(first.content["stages"].keys() & other.content["stages"].keys() for other in others):
        names = " and ".join(f"{side.name} (matrix {side.matrix})" for side in sides)
        raise BenchError(f"runs {names} have no stage in common")
    findings = [
        judge_all(first.content, other.content, margin, threshold, any_machine=True) for other in others
    ]
    return SideBySide(tuple(sides), tuple(_rows(sides, findings)), tuple(_notes(sides, findings)))


def _read(run: str, results: Path, url: str) -> Side:
    folder, name = place_of(run, results, url)
    with closing(Store.open(folder, url, create=False)) as store:
        run_id = store.find_run(None if name in _LATEST else name)
        content = run_content(store, run_id)
        return Side(
            run_id,
            run_id,
            folder,
            str(content["matrix"]),
            store.environment(run_id),
            content,
            tuple(notes_of_run(store, run_id)),
        )


def _named(sides: Sequence[Side]) -> list[Side]:
    """Name runs by their ids, and by their folders too where ids are the same."""
    ids = Counter(side.run_id for side in sides)
    return [
        side if ids[side.run_id] == 1 else replace(side, name=f"{side.results}: {side.run_id}")
        for side in sides
    ]


def _rows(sides: Sequence[Side], findings: Sequence[Sequence[Finding]]) -> Iterator[Row]:
    """Yield a row for each metric of each stage that any run has; then what is judged over seeds."""
    by_place = [{(found.stage, found.metric): found for found in each} for each in findings]
    told: set[tuple[str, str]] = set()
    for side in sides:
        for stage, metrics in side.content["stages"].items():
            for metric in metrics:
                if (stage, metric) not in told:
                    told.add((stage, metric))
                    yield Row(stage, metric, tuple(_values(sides, by_place, stage, metric)))
    over_seeds = dict.fromkeys(place for each in by_place for place in each if place not in told and place[1])
    for stage, metric in over_seeds:
        yield Row(stage, metric, tuple(_over_seeds(by_place, stage, metric)))


def _values(
    sides: Sequence[Side], by_place: Sequence[Mapping[tuple[str, str], Finding]], stage: str, metric: str
) -> Iterator[Value | None]:
    for number, side in enumerate(sides):
        entry = side.content["stages"].get(stage, {}).get(metric)
        finding = by_place[number - 1].get((stage, metric)) if number else None
        yield None if entry is None else _value(entry, finding)


def _value(entry: Mapping[str, Any], finding: Finding | None) -> Value:
    launches = entry.get("launches")
    if not launches:
        return Value(entry.get("value"), finding=finding)
    found = launch_interval(launches)
    return Value(found.value, found.low, found.high, found.n, finding)


def _over_seeds(
    by_place: Sequence[Mapping[tuple[str, str], Finding]], stage: str, metric: str
) -> Iterator[Value | None]:
    """Yield the values of trainings that do not repeat: the findings have their means over seeds."""
    found = [each.get((stage, metric)) for each in by_place]
    first = next(finding for finding in found if finding is not None)
    yield Value(first.before)
    for finding in found:
        yield None if finding is None else Value(finding.after, finding=finding)


def _notes(sides: Sequence[Side], findings: Sequence[Sequence[Finding]]) -> Iterator[str]:
    first, *others = sides
    for other, found in zip(others, findings, strict=True):
        yield from _differing(first, other)
        yield from _apart(first, other)
        reasons = Counter(finding.text for finding in found if finding.verdict == "not comparable")
        for reason, count in reasons.most_common():
            values = f"{counted(count, 'value')} of {other.name}"
            yield f"not comparable with {first.name}: {values}: {reason}"
    for side in sides:
        yield from (f"{side.name}: {note}" for note in side.notes)


def _differing(first: Side, other: Side) -> Iterator[str]:
    """Say in what the environments differ: then a difference is not one of the code alone."""
    keys = differences(first.content["environment"], other.content["environment"])
    if not keys:
        return
    what = [_libraries(first, other) if key == "libraries" else key for key in keys]
    yield (
        f"{other.name} differs from {first.name} in {'; '.join(what)}: "
        "timings show the difference of both, not of the code alone"
    )


def _libraries(first: Side, other: Side) -> str:
    before, after = (side.content["environment"].get("libraries") or {} for side in (first, other))
    changed = changed_versions(before, after)
    return f"libraries ({first_few(changed)})" if changed else "libraries"


def _apart(first: Side, other: Side) -> Iterator[str]:
    for one, two in ((first, other), (other, first)):
        alone = [stage for stage in one.content["stages"] if stage not in two.content["stages"]]
        if alone:
            yield f"{counted(len(alone), 'stage')} of {one.name} not in {two.name}: {first_few(alone)}"
