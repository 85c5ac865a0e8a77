"""Gathers the evidence for predictions: launches in this results folder first, then kept probes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from bench.costs.daily import read_daily
from bench.costs.model import CostModel
from bench.costs.prediction import Estimator, Progress
from bench.costs.probed import read_probes
from bench.costs.rates import Rates, measure_rates
from bench.results.artifacts import RECORD, artifact_folder
from bench.results.store import LaunchCost, StageRow, Store


def make_model(stages: Collection[StageRow], cpus: int, max_launches: int, store: Store | None) -> CostModel:
    """Return a cost model of these stages, from all that is known of them."""
    probed, _ = read_probes(stages, cpus)
    return CostModel(_stored(store), probed, max_launches)


def make_estimator(
    stages: Collection[StageRow], cpus: int, max_launches: int, store: Store | None, results: Path
) -> Estimator:
    """Return an estimator of runs in a results folder."""
    probed, kept = read_probes(stages, cpus)
    rates = (measure_rates(store, results) if store else None) or kept or Rates()
    return Estimator(CostModel(_stored(store), probed, max_launches), rates, cpus)


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


def guessed_s(stages: Iterable[StageRow]) -> dict[str, float]:
    """Return the seconds of each stage by its key, without regard to what was measured on this machine."""
    model = CostModel(())
    return {stage.key: model.cost_of(stage).wall_s() for stage in stages}
