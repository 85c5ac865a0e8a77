"""Measures one stage of each class that nothing is known of, so that a matrix can be predicted.

A probe is the matrix itself with a tiny budget, run by the runner in a folder of its own that is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import datasets
from bench.analysis.tuning import FIXED
from bench.costs.model import CostModel
from bench.costs.probed import keep_probes
from bench.costs.rates import measure_rates
from bench.errors import DataError
from bench.execution.preparation import Prepared
from bench.execution.session import execute
from bench.plan.planner import Plan, make_plan
from bench.results.store import StageRow, Store
from bench.workloads import WORKLOADS

PROBE_STEPS = 20
PROBE_LAUNCHES = 2
"""The first launch of a timed stage has more passes than the later ones."""

Conclude = Callable[[Store, str, Path], Path]


def plan_probe(prepared: Prepared, model: CostModel) -> tuple[Prepared, tuple[StageRow, ...]]:
    """Return the matrix cut down to one stage of each unknown class with what it builds on, and those stages.

    Workloads whose data is not here are left out: a dry run fetches nothing.
    """
    matrix = prepared.matrix
    steps = dict.fromkeys(("train_steps", "recover_steps", "student_steps"), PROBE_STEPS)
    budget = matrix.budget.model_copy(update={**steps, "max_launches": PROBE_LAUNCHES})
    # A trial takes as long as a training of its steps.
    untuned = tuple(dict.fromkeys(replace(cell, tuning=FIXED) for cell in matrix.cells))
    tiny = replace(matrix, budget=budget, cells=untuned)
    cpus = len(prepared.resources.cpus)
    absent = _absent_data(cell.workload for cell in matrix.cells)
    plan = make_plan(tiny, cpus, smoke=prepared.options.smoke, problems=absent)
    targets = choose(plan, model)
    kept = with_parents(plan, [stage.key for stage in targets])
    cells = tuple(
        cell for cell in plan.cells if not cell.skipped and set(map(str, cell.stages.values())) <= kept
    )
    stages = {key: stage for key, stage in plan.stages.items() if key in kept}
    return replace(prepared, matrix=tiny, plan=Plan(stages, cells)), tuple(targets)


def probe(prepared: Prepared, conclude: Conclude) -> None:
    """Run a matrix cut down by `plan_probe`, and keep what its launches took in the user's cache.

    `conclude` writes the report of a run into a folder: that is part of what a run costs.
    """
    with TemporaryDirectory(prefix="bench-probe-") as folder:
        results = Path(folder)
        # `rebuild`, since what is taken over from another run takes no time.
        options = replace(prepared.options, results=results, store="", fresh=True, rebuild=True)

        whole = bool(prepared.plan.cells)  # without a cell the report is empty, and says nothing of another

        def finish(run_id: str) -> None:
            if whole:
                conclude(Store.open(results, create=False), run_id, results / run_id)

        execute(replace(prepared, options=options), finish, say=lambda line: None)
        store = Store.open(results, create=False)
        stages = prepared.plan.stages.values()
        cpus = len(prepared.resources.cpus)
        # How many launches a stage of a tiny budget had says nothing of any other budget.
        costs = [replace(cost, launches=None) for cost in store.cost_history().launches]
        keep_probes(stages, cpus, costs, measure_rates(store, results) if whole else None)
        store.close()


def choose(plan: Plan, model: CostModel) -> list[StageRow]:
    """Return one stage of each class that the model does not know, those that need least else to run."""
    chosen: dict[object, StageRow] = {}
    for stage in sorted(plan.stages.values(), key=lambda stage: len(with_parents(plan, [stage.key]))):
        if not model.knows(stage):
            chosen.setdefault(model.class_of(stage), stage)
    return list(chosen.values())


def with_parents(plan: Plan, keys: Collection[str]) -> set[str]:
    """Return the keys of stages and of all that they build on."""
    found: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += plan.stages[key].parents
    return found


def _absent_data(workloads: Iterable[str]) -> dict[str, str]:
    problems: dict[str, str] = {}
    for name in dict.fromkeys(workloads):
        try:
            absent = [each for each in WORKLOADS.parse(name).row.datasets if datasets.locate(each) is None]
            if absent:
                problems[name] = f"data set {', '.join(absent)} is missing"
        except DataError as error:
            problems[name] = str(error)
    return problems
