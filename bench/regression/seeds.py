"""Judges trainings whose losses do not repeat: by how their results are spread over seeds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from bench.analysis.statistics import mean_interval
from bench.formatting import counted, format_value
from bench.metrics import METRICS, Metric
from bench.regression.finding import Finding

MIN_SEEDS = 3

_SEED = re.compile(r" seed \d+$")

Stages = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Stages by label, as a baseline has them."""


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

    The mean of the differences, paired by seed, has Student's 95 % interval. MLPerf's
    reference convergence points hold a submission against the seeds of a reference in this way.
    """
    groups: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for stage in sorted(trainings):
        for metric, entry in before[stage].items():
            first, second = entry.get("value"), now.get(stage, {}).get(metric, {}).get("value")
            row = METRICS.get(metric.partition("[")[0])
            if row and row.kind == "seeded" and first is not None and second is not None:
                groups[_SEED.sub("", stage), metric].append((first, second))
    for (stage, metric), pairs in groups.items():
        yield _judged(METRICS[metric.partition("[")[0]], stage, metric, pairs)


def _judged(row: Metric, stage: str, metric: str, pairs: list[tuple[float, float]]) -> Finding:
    before, after = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    change = f"{format_value(row.name, before)} -> {format_value(row.name, after)}"
    text = f"{change} over {counted(len(pairs), 'seed')}"
    if len(pairs) < MIN_SEEDS:
        few = f"{text}; the training does not repeat, so a verdict needs {MIN_SEEDS} seeds"
        return Finding("can't tell", stage, metric, few, before, after)
    found = mean_interval([second - first for first, second in pairs])
    assert found.low is not None and found.high is not None
    if found.low <= 0 <= found.high:
        bound = max(-found.low, found.high) / abs(before) if before else None
        return Finding(
            "can't tell", stage, metric, f"{text}, within what seeds differ by", before, after, None, bound
        )
    worse = row.better == "neither" or (found.low > 0) == (row.better == "lower")
    return Finding("regression" if worse else "improvement", stage, metric, text, before, after)
