"""Gathers what predictions go by: this results folder first, then probes kept from before."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bench.costs.model import CostModel
from bench.costs.prediction import Estimator, Progress
from bench.costs.probed import read_probes
from bench.costs.rates import Rates, measure_rates
from bench.results.artifacts import RECORD, artifact_folder
from bench.results.store import StageRow, Store


def make_model(stages: Collection[StageRow], cpus: int, max_launches: int, store: Store | None) -> CostModel:
    """Return a model of what is known of these stages' costs."""
    stored = store.cost_history().launches if store else ()
    probed, _ = read_probes(stages, cpus)
    return CostModel(stored, probed, max_launches)


def make_estimator(
    stages: Collection[StageRow], cpus: int, max_launches: int, store: Store | None, results: Path
) -> Estimator:
    """Return an estimator of runs in a results folder, of what is known so far."""
    _, kept = read_probes(stages, cpus)
    rates = (measure_rates(store, results) if store else None) or kept or Rates()
    return Estimator(make_model(stages, cpus, max_launches, store), rates, cpus)


def progress_of(
    stages: Collection[StageRow],
    results: Path,
    store: Store | None,
    run_id: str | None,
    *,
    rebuild: bool = False,
) -> Progress:
    """Return what of a plan is there: artifacts, and stages and launches of the run, if it goes on.

    With `rebuild`, artifacts that are there will be made all the same.
    """
    there = () if rebuild else stages
    present = {stage.key for stage in there if (artifact_folder(results, stage.key) / RECORD).is_file()}
    ended: set[str] = set()
    launches: dict[str, int] = {}
    timed = {stage.key for stage in stages if stage.timed}
    for key, _, state in store.launch_results(run_id) if store and run_id else ():
        if state == "ok" and key in timed:
            launches[key] = launches.get(key, 0) + 1
        elif state != "killed":
            ended.add(key)
    return Progress(ended, present, launches)
