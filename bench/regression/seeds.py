"""Judges trainings whose losses do not repeat: by how their results are spread over seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from bench.analysis.paired import false_discovery_rates
from bench.analysis.statistics import Interval
from bench.formatting import counted, format_value
from bench.metrics import METRICS, Metric
from bench.regression.exact import describes, is_worse
from bench.regression.finding import Finding, Verdict

MIN_SEEDS = 3

FALSE_ALARMS = 0.01
"""Share of worse trainings named that are none; where nothing has changed, of checks that name one at all."""

_SEED = re.compile(r" seed \d+$")

Stages = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Stages by label, as a baseline has them."""


@dataclass
class _Group:
    """A metric of one training over its seeds: values of seeds that have one on both sides, and the rest."""

    row: Metric
    stage: str
    metric: str
    pairs: list[tuple[float, float]] = field(default_factory=list)
    only_before: int = 0
    only_now: int = 0

    def enter(self, before: float | None, now: float | None) -> None:
        if before is not None and now is not None:
            self.pairs.append((before, now))
        self.only_before += before is not None and now is None
        self.only_now += before is None and now is not None

    @property
    def seeds(self) -> int:
        return len(self.pairs) + self.only_before + self.only_now


def unrepeated(stages: Stages, *repeats: Mapping[str, bool]) -> set[str]:
    """Return the trainings whose first losses differed between launches from one seed, on either side."""
    found = {
        step.removeprefix("step ").removesuffix(" step")
        for side in repeats
        for step, same in side.items()
        if not same
    }
    return {stage for stage in stages if stage.removeprefix("train ") in found}


def judge_seeds(trainings: set[str], before: Stages, now: Stages) -> Iterator[Finding]:
    """Compare seeded metrics of trainings over all seeds that both sides have, as MLPerf does its references.

    The mean of the differences, paired by seed, has Student's 95 % interval, and all of them together one
    rate of false discoveries (Benjamini & Hochberg 1995). MLPerf's reference convergence points hold a
    submission against the seeds of a reference in this way.
    """
    groups = _groups(trainings, before, now)
    spoken = [each for each in groups if not _plain(each)]
    rates = false_discovery_rates([_mean_difference(each)[1] for each in spoken])
    differs = {id(each): rate <= 2 * FALSE_ALARMS for each, rate in zip(spoken, rates, strict=True)}
    for group in groups:
        yield _plain(group) or _judged(group, differs[id(group)])


def _groups(trainings: set[str], before: Stages, now: Stages) -> list[_Group]:
    groups: dict[tuple[str, str], _Group] = {}
    for stage in sorted(trainings & now.keys()):
        for metric in before[stage]:
            row = METRICS.get(metric.partition("[")[0])
            if row is None or row.kind != "seeded" or describes(row):
                continue
            name = _SEED.sub("", stage)
            group = groups.setdefault((name, metric), _Group(row, name, metric))
            group.enter(*(side[stage].get(metric, {}).get("value") for side in (before, now)))
    return [group for group in groups.values() if group.seeds]


def _plain(group: _Group) -> Finding | None:
    """Return what needs no statistics: all seeds lost it, or won it, or are too few, or are all as before."""
    seeds, place = counted(group.seeds, "seed"), (group.stage, group.metric)
    before, after = _means(group)
    if group.seeds >= MIN_SEEDS and not group.pairs and not group.only_now:
        return Finding("lost", *place, f"known of {seeds} before, of none now")
    if group.seeds >= MIN_SEEDS and not group.pairs and not group.only_before:
        return Finding("improvement", *place, f"known of {seeds} now, of none before")
    if len(group.pairs) < MIN_SEEDS:
        few = f"{_text(group)}; the training does not repeat, so a verdict needs {MIN_SEEDS} seeds"
        return Finding("can't tell", *place, few, before, after)
    alike = all(first == second for first, second in group.pairs)
    if alike and not (group.only_before or group.only_now):
        return Finding("no change", *place, _text(group), before, after, bound=0.0)
    if group.row.unit == "yes/no" and not alike and len(set(group.pairs)) == 1:
        return Finding(_direction(group), *place, _text(group), before, after)
    return None


def _judged(group: _Group, differs: bool) -> Finding:
    interval, _ = _mean_difference(group)
    before, after = _means(group)
    assert interval.low is not None and interval.high is not None
    if differs and not interval.low <= 0 <= interval.high:
        return Finding(_direction(group), group.stage, group.metric, _text(group), before, after)
    text = f"{_text(group)}, within what seeds differ by"
    bound = (max(-interval.low, interval.high) / abs(before) or None) if before else None
    return Finding("can't tell", group.stage, group.metric, text, before, after, None, bound)


def _mean_difference(group: _Group) -> tuple[Interval, float]:
    """Return the mean of now less before with its 95 % interval, and the two-sided p of there being none."""
    from scipy.special import stdtr, stdtrit

    differences = np.array([second - first for first, second in group.pairs])
    n = len(differences)
    # What is counted in steps of its own, as evaluations, is off by up to half a step on each side: without
    # that, seeds that happen to differ by the same step would seem to have no spread.
    spread = max(float(differences.std(ddof=1)), _step(group.pairs) / math.sqrt(6))
    mean, error = float(differences.mean()), spread / math.sqrt(n)
    if error == 0:
        return Interval(mean, mean, mean, n, "Student"), 0.0 if mean else 1.0
    half = float(stdtrit(n - 1, 0.975)) * error
    p_value = float(2 * stdtr(n - 1, -abs(mean) / error))
    return Interval(mean, mean - half, mean + half, n, "Student"), p_value


def _step(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the smallest difference between any two values that differ."""
    values = sorted({value for pair in pairs for value in pair})
    return min((high - low for low, high in pairwise(values)), default=0.0)


def _direction(group: _Group) -> Verdict:
    return "regression" if is_worse(group.row, *_means(group)) else "improvement"


def _means(group: _Group) -> tuple[float, float]:
    if not group.pairs:
        return math.nan, math.nan
    before, after = (sum(side) / len(group.pairs) for side in zip(*group.pairs, strict=True))
    return before, after


def _text(group: _Group) -> str:
    before, after = (format_value(group.row.name, value) for value in _means(group))
    alone = ((group.only_before, "before"), (group.only_now, "now"))
    apart = "".join(f"; {counted(count, 'seed')} only {when}" for count, when in alone if count)
    return f"{before} -> {after} over {counted(len(group.pairs), 'seed')}{apart}"
