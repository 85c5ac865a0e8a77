"""Carries out a plan: untimed stages as their parents end, then rounds of timed launches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from bench.costs import Estimator
from bench.costs.timeline import Timeline
from bench.execution.executor import ForkServerExecutor
from bench.execution.job import Job
from bench.execution.ledger import Ledger
from bench.execution.rounds import run_round
from bench.execution.servers import Servers
from bench.execution.untimed import Untimed
from bench.plan.planner import Plan

MakeExecutor = Callable[[list[str]], ForkServerExecutor]


def run_plan(
    job: Job, plan: Plan, timeline: Timeline, estimator: Estimator, make: MakeExecutor | None = None
) -> bool:
    """Carry out what is left of a plan; returns whether no stage failed.

    Nobody else writes the store meanwhile. `make` starts a server that imports the modules it is given.
    """
    ledger = Ledger(job, plan, timeline, estimator)
    ledger.remember()
    servers = Servers(make or _fork_server_of(job), timeline, kept=job.smoke)
    with ledger.display, closing(servers):
        ledger.share_out()
        untimed = [stage for stage in ledger.left() if not stage.timed]
        if untimed:
            Untimed(ledger, servers).run(untimed)
        while ledger.left() or ledger.reopen():
            run_round(ledger.left(), ledger, servers)
            ledger.share_out()
    return ledger.ok


def _fork_server_of(job: Job) -> MakeExecutor:
    return lambda modules: ForkServerExecutor(job.work, job.results, modules, job.budget.allocator)
