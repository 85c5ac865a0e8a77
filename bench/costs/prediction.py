"""Predicts the time and disk space of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.costs.model import SOURCES, CostModel, StageCost
from bench.costs.rates import Rates
from bench.plan.planner import runs_alone
from bench.records import Result
from bench.results.store import LaunchCost, StageRow
from bench.results.store.cost_history import COST_METRICS
from bench.stages import STAGES


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


@dataclass(frozen=True)
class _Left:
    """What is left of a stage."""

    stage: StageRow
    cost: StageCost
    done: int
    launches: float
    seconds: float


class Estimator:
    """Predicts a run on `nodes` of `slots` cores each, and its remaining time while it runs.

    A workload ends once it has taken `budget_s`, besides its training.
    """

    def __init__(
        self, model: CostModel, rates: Rates, slots: int, nodes: int = 1, budget_s: float | None = None
    ) -> None:
        self._model = model
        self._rates = rates
        self._slots = slots
        self._nodes = nodes
        self._budget_s = budget_s

    @property
    def outside_s(self) -> float:
        """The seconds of a run before its first stage and after its last one."""
        return self._rates.runner_s + self._rates.report_s

    @property
    def server_s(self) -> float:
        """The seconds until a server can launch."""
        return self._rates.server_s

    def elapsed_s(self, stage: StageRow, done: int = 0) -> float:
        """Return the seconds that one launch of a stage adds to a run, `done` launches after its first."""
        cost = self._model.cost_of(stage)
        return self._shared_s(stage, cost.later_s if done else cost.first_s)

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
        left = self._left((stage, launches.get(stage.key, 0)) for stage in stages)
        most = max((entry.launches for entry in left if entry.stage.timed), default=0.0)
        return sum(map(self._elapsed_s, left)) + most * self._rates.server_s

    def predict(self, stages: Iterable[StageRow], progress: Progress) -> Prediction:
        """Predict the rest of a plan."""
        stages = list(stages)
        costs: dict[str, StageCost | None] = {stage.key: None for stage in stages}
        kinds: dict[str, KindTotal] = {}
        left = self._left((stage, progress.launched(stage)) for stage in stages if not progress.done(stage))
        for entry in left:
            costs[entry.stage.key] = entry.cost
            kinds[entry.stage.kind] = _added(kinds.get(entry.stage.kind), entry)
        launches = sum(entry.launches for entry in left)
        rounds = max((entry.launches for entry in left if entry.stage.timed), default=0.0)
        untimed = any(not entry.stage.timed for entry in left)
        overheads = self._rates.overheads(round(rounds) + untimed, launches)
        artifacts = sum(total.artifact_bytes for total in kinds.values())
        lowered = kinds["lower"].stages if "lower" in kinds else 0
        return Prediction(
            costs,
            {entry.stage.key: entry.seconds for entry in left},
            kinds,
            sum(map(self._elapsed_s, left)) + sum(overheads.values()),
            overheads,
            {"artifacts": artifacts, **self._rates.disk(launches, lowered)},
            ended=sum(key in progress.ended for key in costs),
            reused=sum(key in progress.present and key not in progress.ended for key in costs),
        )

    def _left(self, stages: Iterable[tuple[StageRow, int]]) -> list[_Left]:
        """Return what is left of stages that have had so many launches."""
        found = []
        for stage, done in stages:
            cost = self._model.cost_of(stage)
            found.append(_Left(stage, cost, done, max(1.0, cost.launches - done), cost.wall_s(done)))
        if self._budget_s is None:
            return found
        workloads = {entry.stage.request.settings.get("workload") for entry in found}
        return _within(self._budget_s - self.outside_s / max(1, len(workloads)), found, self._slots)

    def _elapsed_s(self, left: _Left) -> float:
        return self._shared_s(left.stage, left.seconds)

    def _shared_s(self, stage: StageRow, seconds: float) -> float:
        return seconds / (self._nodes if runs_alone(stage) else self._slots * self._nodes)


def _within(budget_s: float, left: Iterable[_Left], slots: int) -> list[_Left]:
    """Shorten the timed launches of each workload to its budget, but for the first one of each stage.

    What else there is to do for the workload, but for training, comes off the budget. Where that does not fit
    either, some of it will be left out: all of it counts by the share that fits.
    """
    groups: dict[object, list[_Left]] = defaultdict(list)
    found: list[_Left] = []
    for entry in left:
        counts = entry.stage.timed or STAGES.get(entry.stage.kind).works != "trains"
        (groups[entry.stage.request.settings.get("workload")] if counts else found).append(entry)
    for entries in groups.values():
        timed = [entry for entry in entries if entry.stage.timed]
        others = [entry for entry in entries if not entry.stage.timed]
        done_s = sum(entry.done * entry.cost.later_s for entry in timed)
        other_s = sum(entry.seconds / (1 if runs_alone(entry.stage) else slots) for entry in others)
        room_s = max(0.0, budget_s - done_s)
        cut = [*others, *_cut(timed, room_s - other_s)]
        whole_s = other_s + sum(entry.seconds for entry in cut[len(others) :])
        share = min(1.0, room_s / whole_s) if whole_s else 1.0
        found += [replace(entry, seconds=entry.seconds * share) for entry in cut]
    return found


def _cut(entries: Sequence[_Left], room_s: float) -> list[_Left]:
    """Shorten the timed launches of a workload to these seconds, to one each at the least."""
    least_s = sum(entry.cost.later_s if entry.done else entry.cost.first_s for entry in entries)
    whole_s = sum(entry.seconds for entry in entries)
    share = min(1.0, max(least_s, room_s) / whole_s) if whole_s else 1.0
    return [
        replace(entry, launches=max(1.0, entry.launches * share), seconds=entry.seconds * share)
        for entry in entries
    ]


def _added(total: KindTotal | None, left: _Left) -> KindTotal:
    before = total or KindTotal(0, 0.0, 0.0, 0)
    return KindTotal(
        before.stages + 1,
        before.launches + left.launches,
        before.wall_s + left.seconds,
        before.artifact_bytes + (left.cost.artifact_bytes or 0),
    )
