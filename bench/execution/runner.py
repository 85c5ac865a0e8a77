"""Carries out a plan: untimed stages as their parents end, then rounds of timed launches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from bench.costs import Estimator
from bench.costs.timeline import Timeline
from bench.execution.engines.engine import Engine
from bench.execution.job import Job
from bench.execution.ledger import Ledger
from bench.execution.rounds import Rounds
from bench.execution.servers import Servers
from bench.execution.untimed import Untimed
from bench.plan.planner import Plan

TimeThem = Callable[[Ledger, Servers], None]
"""Launches the timed stages of a plan, once all others have ended."""


def in_rounds(ledger: Ledger, servers: Servers) -> None:
    """Launch every timed stage in rounds, until its interval is narrow enough."""
    Rounds(ledger, servers).run()


def run_plan(
    job: Job,
    plan: Plan,
    timeline: Timeline,
    estimator: Estimator,
    engine: Engine,
    time_them: TimeThem = in_rounds,
) -> bool:
    """Carry out what is left of a plan on the nodes of an engine; returns whether no stage failed.

    Nobody else writes the store meanwhile.
    """
    ledger = Ledger(job, plan, timeline, estimator)
    ledger.remember()
    servers = Servers(engine, timeline, ledger.display.say, kept=job.smoke)
    with ledger.display, closing(servers):
        ledger.share_out()
        untimed = [stage for stage in ledger.left() if not stage.timed]
        if untimed:
            Untimed(ledger, servers).run(untimed)
        time_them(ledger, servers)
    return ledger.ok
