"""Predicts the time and disk space of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.costs.model import SOURCES, CostModel, StageCost
from bench.costs.rates import Rates
from bench.plan.planner import runs_alone
from bench.records import Result
from bench.results.store import LaunchCost, StageRow
from bench.results.store.cost_history import COST_METRICS


@dataclass(frozen=True)
class Progress:
    """The finished part of a plan: keys of ended stages, keys of present artifacts, good launches."""

    ended: Collection[str] = ()
    present: Collection[str] = ()
    launches: Mapping[str, int] | None = None

    def done(self, stage: StageRow) -> bool:
        return stage.key in self.ended or stage.key in self.present

    def launched(self, stage: StageRow) -> int:
        return (self.launches or {}).get(stage.key, 0)


@dataclass(frozen=True)
class KindTotal:
    """The total of one kind of stage; seconds are summed over parallel stages."""

    stages: int
    launches: float
    wall_s: float
    artifact_bytes: int


@dataclass(frozen=True)
class Prediction:
    """The predicted rest of a run. `costs` has an entry for each stage, None if the stage is done.

    `wall_s` is the elapsed time from the start of the process to the end of the report. `ended` stages were
    finished by an earlier execution of the run; `reused` ones take their artifact from another run.
    """

    costs: Mapping[str, StageCost | None]
    seconds: Mapping[str, float]
    kinds: Mapping[str, KindTotal]
    wall_s: float
    overheads: Mapping[str, float]
    disk: Mapping[str, int]
    ended: int
    reused: int

    @property
    def disk_bytes(self) -> int:
        return sum(self.disk.values())

    @property
    def bound_s(self) -> float:
        """Return the seconds of trainings whose cost is an upper bound."""
        return sum(self.seconds[key] for key, cost in self.costs.items() if cost and cost.bound)

    @property
    def sources(self) -> dict[str, int]:
        """Return how many stages were predicted from what, best source first."""
        found = Counter(cost.source for cost in self.costs.values() if cost)
        return {name: found[name] for name in SOURCES if found[name]}

    def as_document(self) -> dict[str, Any]:
        """Return the prediction as stored: `stages` has each stage's index in `costs`, or None."""
        distinct = {cost: None for cost in self.costs.values() if cost}
        place = {cost: number for number, cost in enumerate(distinct)}
        return {
            "wall_s": self.wall_s,
            "bound_s": self.bound_s,
            "disk": dict(self.disk),
            "overheads": dict(self.overheads),
            "kinds": {kind: asdict(total) for kind, total in self.kinds.items()},
            "ended": self.ended,
            "reused": self.reused,
            "sources": self.sources,
            "costs": [asdict(cost) for cost in distinct],
            "stages": [None if cost is None else place[cost] for cost in self.costs.values()],
            "seconds": [round(self.seconds.get(key, 0.0), 4) for key in self.costs],
        }


class Estimator:
    """Predicts a run on `slots` cores, and its remaining time while it runs."""

    def __init__(self, model: CostModel, rates: Rates, slots: int) -> None:
        self._model = model
        self._rates = rates
        self._slots = slots

    def learn(self, stage: StageRow, round_: int, result: Result) -> None:
        """Learn from a good launch that has just ended."""
        values = {
            entry.metric: float((entry.n or 1) if entry.metric == "curve_step" else entry.value)
            for entry in result.measurements
            if entry.metric in COST_METRICS and entry.value is not None
        }
        size = result.artifact.bytes if result.artifact else None
        settings = stage.request.settings
        self._model.learn(LaunchCost(stage.kind, settings, result.wall_s, round_, None, size, values))

    def rest_s(self, stages: Iterable[StageRow], launches: Mapping[str, int]) -> float:
        """Return the seconds until these stages have ended; `launches` counts those that are done."""
        total, most = 0.0, 0.0
        for stage in stages:
            cost, done = self._model.cost_of(stage), launches.get(stage.key, 0)
            total += self._elapsed_s(stage, cost.wall_s(done))
            most = max(most, cost.launches - done if stage.timed else 0.0)
        return total + most * self._rates.server_s

    def predict(self, stages: Iterable[StageRow], progress: Progress) -> Prediction:
        """Predict the rest of a plan."""
        costs: dict[str, StageCost | None] = {}
        seconds: dict[str, float] = {}
        kinds: dict[str, KindTotal] = {}
        elapsed_s = rounds = launches = 0.0
        untimed = False
        for stage in stages:
            if progress.done(stage):
                costs[stage.key] = None
                continue
            cost, done = self._model.cost_of(stage), progress.launched(stage)
            left = max(1.0, cost.launches - done)
            costs[stage.key] = cost
            seconds[stage.key] = cost.wall_s(done)
            kinds[stage.kind] = _added(kinds.get(stage.kind), seconds[stage.key], left, cost)
            elapsed_s += self._elapsed_s(stage, seconds[stage.key])
            launches += left
            rounds = max(rounds, left if stage.timed else 0.0)
            untimed = untimed or not stage.timed
        overheads = self._rates.overheads(round(rounds) + untimed, launches)
        artifacts = sum(total.artifact_bytes for total in kinds.values())
        lowered = kinds["lower"].stages if "lower" in kinds else 0
        return Prediction(
            costs,
            seconds,
            kinds,
            elapsed_s + sum(overheads.values()),
            overheads,
            {"artifacts": artifacts, **self._rates.disk(launches, lowered)},
            ended=sum(key in progress.ended for key in costs),
            reused=sum(key in progress.present and key not in progress.ended for key in costs),
        )

    def _elapsed_s(self, stage: StageRow, wall_s: float) -> float:
        return wall_s if runs_alone(stage) else wall_s / self._slots


def _added(total: KindTotal | None, wall_s: float, launches: float, cost: StageCost) -> KindTotal:
    before = total or KindTotal(0, 0.0, 0.0, 0)
    return KindTotal(
        before.stages + 1,
        before.launches + launches,
        before.wall_s + wall_s,
        before.artifact_bytes + (cost.artifact_bytes or 0),
    )
