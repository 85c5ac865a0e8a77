"""Runs of two stages, made up to be held against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.records import Measurement, PlannedRequest, Result
from bench.regression import verdict as regression
from bench.regression.finding import Comparison
from bench.results.store import StageRow, Store

ENVIRONMENT = {"cpu": {"model": "some"}, "threads": 2, "libraries": {"torch": "2"}, "python": "3.11"}
STAGES = [
    StageRow("a" * 64, "evaluate", "net @ cpu", False, (), PlannedRequest()),
    StageRow("b" * 64, "infer", "dense @ cpu", True, (), PlannedRequest()),
]
QUIET = (1.00, 1.01, 0.99, 1.00, 1.02, 0.98)
"""Seconds of a run's six launches that differ little."""


def make_run(
    store: Store,
    name: str,
    latencies: Sequence[float] = QUIET,
    accuracy: float | None = 0.9,
    parameters: int = 100,
    environment: Mapping[str, Any] = ENVIRONMENT,
    finish: bool = True,
    stages: Sequence[StageRow] = STAGES,
) -> None:
    """Enter a run: its evaluation, and a launch of its inference for each latency in seconds."""
    store.start_run(name, name, "quick", "bench run", {}, stages, [])
    evaluated = (Measurement("accuracy", accuracy), Measurement("parameters", parameters))
    store.add_launch(name, STAGES[0], 0, Result("ok", measurements=evaluated, environment=environment))
    if len(stages) > 1:
        for round_, latency in enumerate(latencies):
            timed = Result("ok", measurements=(Measurement("latency_s", latency),), environment=environment)
            store.add_launch(name, STAGES[1], round_, timed)
    if finish:
        store.finish_run(name)


def check(store: Store, run: str, **options: Any) -> Comparison:
    """Hold a run against the baseline `main`."""
    return regression.check(store, run, "main", store.path.parent, **options)


def verdicts(comparison: Comparison) -> dict[str, str]:
    """Return the verdict of each metric."""
    return {finding.metric: finding.verdict for finding in comparison.findings}
