"""Gathers the evidence for predictions: launches in this results folder, kept probes, reference costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from bench.costs.calibration import calibration_of
from bench.costs.daily import read_daily
from bench.costs.model import CostModel
from bench.costs.prediction import Estimator, Progress
from bench.costs.probed import read_probes
from bench.costs.rates import measure_rates
from bench.costs.reference import Reference, read_reference
from bench.results.artifacts import RECORD, artifact_folder
from bench.results.store import LaunchCost, StageRow, Store

_LONG_S = 60.0
"""Seconds of stages without a launch here, from which on a few seconds of calibration are worth it."""


def make_model(stages: Collection[StageRow], cpus: int, max_launches: int, store: Store | None) -> CostModel:
    """Return a cost model of these stages, from all that is known of them."""
    probed, _ = read_probes(stages, cpus)
    stored = _stored(store)
    reference = _reference(stages, cpus, max_launches, stored)
    return CostModel(stored, probed, max_launches, reference.launches)


def make_estimator(
    stages: Collection[StageRow],
    cpus: int,
    max_launches: int,
    store: Store | None,
    results: Path,
    *,
    nodes: int = 1,
    budget_s: float | None = None,
) -> Estimator:
    """Return an estimator of runs in a results folder.

    They run on `nodes` of `cpus` cores each; a workload's timed launches end once they took `budget_s`.
    """
    probed, kept = read_probes(stages, cpus)
    stored = _stored(store)
    reference = _reference(stages, cpus, max_launches, stored)
    rates = (measure_rates(store, results) if store else None) or kept or reference.rates
    model = CostModel(stored, probed, max_launches, reference.launches)
    return Estimator(model, rates, cpus, nodes, budget_s)


def _reference(
    stages: Iterable[StageRow], cpus: int, max_launches: int, stored: Iterable[LaunchCost]
) -> Reference:
    """Return the reference costs, scaled to this machine; what is short is not worth a new calibration."""
    reference = read_reference()
    model = CostModel(stored, (), max_launches, reference.launches)
    costs = [cost for stage in stages if (cost := model.cost_of(stage)).source != "store"]
    is_long = sum(cost.wall_s() for cost in costs) > _LONG_S
    return reference.scaled(calibration_of(cpus, measure=is_long))


def _stored(store: Store | None) -> Sequence[LaunchCost]:
    return store.cost_history().launches if store else ()


def progress_of(
    stages: Collection[StageRow],
    results: Path,
    store: Store | None,
    run_id: str | None,
    *,
    rebuild: bool = False,
) -> Progress:
    """Return the finished part of a plan: artifacts, what holds for a day, a resumed run's launches.

    With `rebuild`, none of another run counts.
    """
    there = () if rebuild else stages
    present = {
        stage.key
        for stage in there
        if (artifact_folder(results, stage.key) / RECORD).is_file() or read_daily(stage) is not None
    }
    ended: set[str] = set()
    launches: dict[str, int] = {}
    timed = {stage.key for stage in stages if stage.timed}
    for key, _, state in store.launch_results(run_id) if store and run_id else ():
        if state == "ok" and key in timed:
            launches[key] = launches.get(key, 0) + 1
        elif state != "killed":
            ended.add(key)
    return Progress(ended, present, launches)


def guessed_s(stages: Iterable[StageRow], max_launches: int) -> dict[str, float]:
    """Return the seconds of each stage by its key on the reference machine, so the same on any machine."""
    model = CostModel((), (), max_launches, read_reference().launches)
    return {stage.key: model.cost_of(stage).wall_s() for stage in stages}
