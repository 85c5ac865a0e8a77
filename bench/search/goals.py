"""What a search is for: one metric as low as it gets, where every goal holds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.errors import BenchError
from bench.matrix.limits import Limit, parse_limit
from bench.metrics import METRICS, metric_named
from techniques.registry import nearest

SERVED = ("lower", "evaluate", "infer")
"""Kinds of stages whose metrics a search may go by: those of a cell that is served."""

_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_ROUNDING = 1e-9
_LINEAR = ("share", "percentage points", "points")


@dataclass(frozen=True)
class Answer:
    """What was measured of a candidate, by metric, each with its error: half the width of an interval.

    `reason` says why there is nothing to go by; `doubt` why a timing is preliminary. `cell` of run `run_id`
    is the record.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    launches: int = 0
    reason: str = ""
    doubt: str = ""
    run_id: str = ""
    cell: str = ""


@dataclass(frozen=True)
class Problem:
    """The goals, and the metric to minimize; all of them metrics of served cells."""

    goals: tuple[Limit, ...]
    minimize: str

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that an answer must have."""
        return tuple(dict.fromkeys([self.minimize, *(goal.metric for goal in self.goals)]))

    @property
    def by_structure(self) -> bool:
        """Whether dense kernels decide what is minimized, so that zeroed weights change nothing."""
        return metric_named(self.minimize).stage == "infer"

    def holds(self, answer: Answer) -> bool:
        """Say whether all goals hold."""
        return all(_holds(goal, answer.values[goal.metric]) for goal in self.goals)

    def may_hold(self, answer: Answer) -> bool:
        """Say whether all goals hold somewhere within the errors of the values."""
        return all(self._may_hold(goal, answer) for goal in self.goals)

    def excess(self, answer: Answer) -> float:
        """Return how far a goal is missed at most, as a share of its bound; 0 where all hold."""
        missed = [
            abs(answer.values[goal.metric] - goal.bound) / max(abs(goal.bound), 1.0)
            for goal in self.goals
            if not _holds(goal, answer.values[goal.metric])
        ]
        return max(missed, default=0.0)

    def _may_hold(self, goal: Limit, answer: Answer) -> bool:
        value, error = answer.values[goal.metric], answer.errors.get(goal.metric, 0.0)
        return any(_holds(goal, bound) for bound in (value - error, value + error))


def _holds(goal: Limit, value: float) -> bool:
    slack = _ROUNDING * abs(goal.bound) * (1 if goal.sign.startswith("<") else -1)
    return _HOLDS[goal.sign](value, goal.bound + slack)


def is_linear(metric: str) -> bool:
    """Say whether differences of a metric add up; of all others, ratios multiply."""
    return metric_named(metric).unit in _LINEAR


def read_problem(goals: Sequence[str], minimize: str) -> Problem:
    """Read the texts of a command; raises BenchError that says what would be right."""
    limits = tuple(parse_limit(text, "--goal") for text in goals)
    for limit in limits:
        _check(limit.metric, f"--goal: {limit.metric}")
    if minimize not in METRICS:
        raise BenchError(f"--minimize: unknown metric {minimize!r}{nearest(minimize, _lower())}")
    _check(minimize, f"--minimize: {minimize}")
    if METRICS[minimize].better != "lower":
        raise BenchError(
            f"--minimize: {minimize} is not better when lower; write it as --goal '{minimize} >= ...'"
        )
    return Problem(limits, minimize)


def _check(metric: str, where: str) -> None:
    stage = METRICS[metric].stage
    if stage not in (*SERVED, "any"):
        raise BenchError(f"{where} is measured by {stage}; a search goes by {', '.join(SERVED)}")


def _lower() -> Iterable[str]:
    return [name for name, row in METRICS.items() if row.better == "lower" and row.stage in SERVED]
