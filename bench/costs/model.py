"""Predicts the cost of a stage from earlier launches of its class."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

from bench.analysis.statistics import LOOKS
from bench.costs.classes import SINGLE, TRIAL, CostClass, cost_class, kin, near, without_tried
from bench.costs.rates import disk_bytes
from bench.results.store import LaunchCost, StageRow
from bench.stages import STAGES
from bench.workloads import WORKLOADS
from bench.workloads.content import content_path
from techniques.compression import COMPRESSIONS

Source = Literal["store", "probe", "reference", "near", "kin", "guess"]

SOURCES: Mapping[Source, str] = {
    "store": "launches of their class in this results folder",
    "probe": "one measured probe of their class",
    "reference": "their class on a reference machine, scaled to this one",
    "near": "similar stages on a reference machine, scaled to this one",
    "kin": "other stages of their kind",
    "guess": "a rough guess",
}
"""The sources of predictions, best first."""

_RECENT = 20
_ENOUGH_RATIOS = 3
"""Launches of a kind here that tell more of this machine's speed than its calibration does."""
_RANKS_S = 5.0
"""What it takes to start a process for each device and to join them, on two cores of a server."""
_OF_OTHERS: tuple[Source, ...] = ("near", "kin", "guess")
"""Sources of costs of stages that may have had one device."""
_WARM_STEPS = 100
"""Steps after which the mean step is that of a warm process; the first steps take several times as long."""


Relations = Callable[[str, Mapping[str, Any]], Sequence[CostClass]]


@dataclass(frozen=True)
class StageCost:
    """The predicted cost of a stage: seconds of the first and later launches, their number, bytes.

    `bound` marks an upper bound: no stage here has reached the training's target yet, so its whole budget of
    steps is counted.
    """

    first_s: float
    later_s: float
    launches: float
    artifact_bytes: int | None
    source: Source
    bound: bool = False

    def wall_s(self, done: int = 0) -> float:
        """Return the seconds of the launches left after `done`, at least one."""
        left = max(1.0, self.launches - done)
        return left * self.later_s if done else self.first_s + (left - 1) * self.later_s


class _Pools:
    """Launches, of `recent` many the latest, by the names of their class and of what it is related to."""

    def __init__(self, relations: Relations, recent: int | None = _RECENT) -> None:
        self._relations = relations
        self._pools: dict[CostClass, deque[LaunchCost]] = defaultdict(lambda: deque(maxlen=recent))

    def enter(self, cost: LaunchCost) -> None:
        for name in (cost_class(cost.kind, cost.settings), *self._relations(cost.kind, cost.settings)):
            self._pools[name].append(cost)

    def get(self, name: CostClass) -> Sequence[LaunchCost]:
        return self._pools.get(name, ())

    def related(self, kind: str, settings: Mapping[str, Any]) -> Sequence[LaunchCost]:
        """Return the launches of the nearest relation that has any, else none."""
        pools = (self._pools.get(name) for name in self._relations(kind, settings))
        return next((pool for pool in pools if pool), ())


class CostModel:
    """Predicts stages; learns from launches as they end. `max_launches` bounds those of a timed stage.

    `reference` has the costs of a reference machine, already scaled to this one by its calibration.
    """

    def __init__(
        self,
        stored: Iterable[LaunchCost],
        probed: Iterable[LaunchCost] = (),
        max_launches: int = 1,
        reference: Iterable[LaunchCost] = (),
    ) -> None:
        self._stored = _Pools(kin)
        self._probed = _Pools(kin)
        self._reference = _Pools(near, recent=None)
        self._ratios: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_RECENT))
        self._max_launches = max_launches
        self._classes: dict[str, CostClass] = {}
        self._costs: dict[tuple[object, ...], StageCost] = {}
        for cost in reference:
            self._reference.enter(cost)
        for cost in probed:
            self._probed.enter(cost)
        for cost in stored:
            self._enter(cost)

    def learn(self, cost: LaunchCost) -> None:
        """Learn from a launch that has just ended."""
        self._enter(cost)
        self._costs.clear()

    def _enter(self, cost: LaunchCost) -> None:
        self._stored.enter(cost)
        there = self._reference.get(cost_class(cost.kind, cost.settings))
        if there and cost.round == 0 and "steps_trained" not in cost.values:
            self._ratios[cost.kind].append(cost.wall_s / max(there[0].wall_s, 1e-3))

    def knows(self, stage: StageRow) -> bool:
        """Return whether a launch of the stage's class has been measured; of a trial, a training will do."""
        names = [self.class_of(stage)]
        if stage.kind == TRIAL:
            names.append(cost_class("train", without_tried(stage.request.settings)))
        return any(self._stored.get(name) or self._probed.get(name) for name in names)

    def class_of(self, stage: StageRow) -> CostClass:
        if stage.key not in self._classes:
            self._classes[stage.key] = cost_class(stage.kind, stage.request.settings)
        return self._classes[stage.key]

    def cost_of(self, stage: StageRow) -> StageCost:
        """Return the predicted cost: by the stage's class, else by related stages, else a guess."""
        settings = stage.request.settings
        name = self.class_of(stage)
        more = (settings.get(what) for what in ("sample_s", "optimizer", "evaluations_per_epoch"))
        place = (name, _budget_steps(settings), *more)
        if place not in self._costs:
            self._costs[place] = self._cost(stage, name)
        return self._costs[place]

    def _cost(self, stage: StageRow, class_: CostClass) -> StageCost:
        settings = stage.request.settings
        settings = without_tried(settings) if stage.kind == TRIAL else settings
        pool, source = self._pool(stage.kind, settings, class_)
        counted = source in ("store", "reference", "near")
        launches = self._launches(pool if counted else ()) if stage.timed else 1.0
        started_s = _RANKS_S if source in _OF_OTHERS and settings.get("devices", 1) > 1 else 0.0
        if not pool:
            row = STAGES.get(stage.kind)
            size, guess_s = _at_least_content(row.guess_bytes, settings), row.guess_s + started_s
            return StageCost(guess_s, guess_s, launches, size, "guess")
        sizes = [cost.artifact_bytes for cost in pool if cost.artifact_bytes is not None]
        size = round(median(sizes)) if sizes else None
        size = _at_least_content(size, settings) if source in ("kin", "near") else size
        trained = [cost for cost in pool if cost.values.get("steps_trained")]
        if trained and _budget_steps(settings):
            seconds, bound = self._training_s(trained, settings)
            return StageCost(seconds + started_s, seconds + started_s, launches, size, source, bound)
        speed = self._speed(stage.kind) if source in ("reference", "near") else 1.0
        first = [speed * _resampled_s(cost, settings) for cost in pool if cost.round == 0]
        later = [speed * _resampled_s(cost, settings) for cost in pool if cost.round > 0]
        first_s, later_s = (started_s + median(known) for known in (first or later, later or first))
        return StageCost(first_s, later_s, launches, size, source)

    def _speed(self, kind: str) -> float:
        """Return how many times as long a kind takes here as the reference says, by launches here."""
        ratios = self._ratios[kind]
        return median(ratios) if len(ratios) >= _ENOUGH_RATIOS else 1.0

    def _pool(
        self, kind: str, settings: Mapping[str, Any], class_: CostClass
    ) -> tuple[Sequence[LaunchCost], Source]:
        exact: tuple[tuple[_Pools, Source], ...]
        exact = (self._stored, "store"), (self._probed, "probe"), (self._reference, "reference")
        for pools, source in exact:
            if pool := pools.get(class_):
                return pool, source
        if kind == TRIAL:  # it takes as long as a training of its steps
            return self._pool("train", settings, cost_class("train", settings))
        if kind == SINGLE:  # it is a step, on fewer cores
            alone = {key: value for key, value in settings.items() if key != "of_devices"}
            return self._pool("step", alone, cost_class("step", alone))
        if pool := self._reference.related(kind, settings):
            return pool, "near"
        pool = self._stored.related(kind, settings) or self._probed.related(kind, settings)
        return (pool, "kin") if pool else ((), "guess")

    def _launches(self, pool: Iterable[LaunchCost]) -> float:
        """Return how many launches a timed stage took before, else the median of what its budget allows."""
        known = [cost.launches for cost in pool if cost.launches is not None]
        looks = [look for look in LOOKS if look <= self._max_launches] or [self._max_launches]
        return min(self._max_launches, median(known or looks))

    def _training_s(self, pool: Sequence[LaunchCost], settings: Mapping[str, Any]) -> tuple[float, bool]:
        """Return the seconds of a stage that trains, and whether they are an upper bound."""
        own = [cost for cost in pool if cost.settings.get("optimizer") == settings.get("optimizer")] or pool
        steps, bound = _steps(own, settings)
        spent = ("training_s", "evaluation_s")
        fixed_s = median(c.wall_s - sum(c.values.get(metric, 0.0) for metric in spent) for c in own)
        evaluating_s = 0.0
        evaluated = [cost for cost in own if cost.values.get("evaluation_s")]
        if evaluated:
            period = median(_period(cost, settings) for cost in evaluated)
            each_s = median(
                cost.values["evaluation_s"] / cost.values.get("curve_step", 1.0) for cost in evaluated
            )
            evaluating_s = math.ceil(steps / period) * each_s
        return fixed_s + steps * self._step_s(own, settings, steps) + evaluating_s, bound

    def _step_s(self, own: Sequence[LaunchCost], settings: Mapping[str, Any], steps: float) -> float:
        """Return the seconds of a step: from trainings as long, else from its timing, else from any."""
        each = [
            cost.values["training_s"] / cost.values["steps_trained"]
            for cost in own
            if cost.values["steps_trained"] >= min(_WARM_STEPS, steps / 2) and "training_s" in cost.values
        ]
        if each:
            return median(each)
        alone = {key: value for key, value in settings.items() if key != "technique"}
        timed, _ = self._pool("step", alone, cost_class("step", alone))
        each = [cost.values["step_latency_s"] for cost in timed if "step_latency_s" in cost.values]
        return median(
            each or [cost.values.get("training_s", 0.0) / cost.values["steps_trained"] for cost in own]
        )


def _resampled_s(cost: LaunchCost, settings: Mapping[str, Any]) -> float:
    """Return a launch's seconds, corrected for the sampling time in `settings`."""
    difference = settings.get("sample_s", 0.0) - cost.settings.get("sample_s", 0.0)
    return max(0.0, cost.wall_s + float(difference))


def _budget_steps(settings: Mapping[str, Any]) -> int | None:
    """Return the most steps that a stage may train, None if it does not train."""
    if "technique" not in settings:
        steps = settings.get("steps")
    else:
        row = COMPRESSIONS.rows().get(str(settings["technique"]).partition(":")[0])
        # The technique may belong to a plug-in that is not loaded now.
        steps = settings.get(f"{row.budget if row else 'recover'}_steps")
    return int(steps) if steps else None


def _steps(own: Sequence[LaunchCost], settings: Mapping[str, Any]) -> tuple[float, bool]:
    """Return the predicted steps of a training, and whether they are an upper bound."""
    budget = _budget_steps(settings) or 0
    if "searched" in settings:
        return _steps_of_a_trial(own, budget)
    if "target" not in settings:
        # A step of a recipe may train for several times what the budget calls a recovery.
        shares = [cost.values["steps_trained"] / (_budget_steps(cost.settings) or budget) for cost in own]
        return budget * median(shares), False
    if not settings.get("stops_at_target", True):
        return budget, False
    own = [cost for cost in own if cost.settings.get("stops_at_target", True)]
    known = [
        cost.values["steps_trained"] if cost.values.get("target_reached") else math.inf
        for cost in own
        if cost.values.get("target_reached") or (_budget_steps(cost.settings) or 0) >= budget
    ]
    return min(budget, median(known or [budget])), not known


def _steps_of_a_trial(own: Sequence[LaunchCost], budget: int) -> tuple[float, bool]:
    """Return the mean steps of a trial, since the sum of many counts, of which some end early."""
    known = []
    for cost in own:
        trained, its_budget = cost.values["steps_trained"], _budget_steps(cost.settings) or 0
        if cost.values.get("target_reached"):
            known.append(min(budget, trained))
        elif its_budget >= budget:
            known.append(budget * trained / its_budget)
    return (fmean(known), False) if known else (budget, True)


def _at_least_content(size: int | None, settings: Mapping[str, Any]) -> int | None:
    """Return a guessed artifact size, at least that of the user's model files."""
    workload = str(settings.get("workload"))
    path = content_path(workload) if size is not None and ":" in workload else None
    return size if path is None or size is None else max(size, disk_bytes(path))


def _period(cost: LaunchCost, settings: Mapping[str, Any]) -> float:
    """Return the steps from one evaluation to the next, with these settings."""
    period = cost.values.get("evaluation_period")
    period = period or cost.values["steps_trained"] / cost.values.get("curve_step", 1.0)
    if cost.settings.get("workload") != settings.get("workload"):
        return period
    row = WORKLOADS.rows().get(str(settings.get("workload")))
    usual = row.evaluations_per_epoch if row else 1
    there, here = (own.get("evaluations_per_epoch") or usual for own in (cost.settings, settings))
    return max(1.0, period * there / here)
