"""The ledger of a small run, with a store of its own and no worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.costs import Estimator, make_model
from bench.costs.rates import Rates
from bench.costs.timeline import Timeline, now_s
from bench.execution.job import Job
from bench.execution.ledger import Ledger
from bench.execution.resources import Resources
from bench.matrix.file import Budget
from bench.plan.planner import Plan
from bench.records import PlannedRequest
from bench.results.store import CellRow, StageRow, Store

TRAIN = StageRow("a" * 64, "train", "net", False, (), PlannedRequest())
EVALUATE = StageRow("b" * 64, "evaluate", "net @ cpu", False, (TRAIN.key,), PlannedRequest())
INFER = StageRow("c" * 64, "infer", "dense @ cpu", True, (), PlannedRequest())
STAGES = (TRAIN, EVALUATE, INFER)


def ledger_of(
    folder: Path,
    stages: Sequence[StageRow] = STAGES,
    budget_s: float | None = None,
    cells: Sequence[CellRow] = (),
    **options: Any,
) -> Ledger:
    """Return the ledger of a run on two cores, which goes on where the store has it already.

    Without `cells` it has one with all stages. Starting and reporting take no time.
    """
    store = Store.open(folder)
    if "run-1" not in store.runs()["id"].tolist():
        cells = cells or [CellRow("one", {}, {stage.kind: stage.key for stage in stages})]
        store.start_run("run-1", "identity", "m", "bench run", {}, stages, cells)
    budget = Budget(max_launches=10, target_interval=0.05, budget_s=budget_s)
    job = Job("run-1", store, folder, budget, Resources((0, 1), 2**30), **options)
    plan = Plan({stage.key: stage for stage in stages}, tuple(store.cells("run-1")))
    free = Rates(0, 0, 0, 0, 0, 0, 0, 0)
    estimator = Estimator(make_model(stages, 2, 10, store), free, 2, budget_s=budget_s)
    return Ledger(job, plan, Timeline(now_s()), estimator)
