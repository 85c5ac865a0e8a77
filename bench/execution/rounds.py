"""Launches timed stages in rounds, each from one fresh server; every second round in reversed order."""

from __future__ import annotations

from collections.abc import Sequence

from bench.execution.executor import ForkServerExecutor
from bench.execution.ledger import Ledger, title
from bench.execution.servers import Servers
from bench.results.store import StageRow

TRIES_IN_A_ROUND = 3
"""Launches of a stage from one server until nothing disturbs one: a neighbour stays longer than a moment, a
server costs a second."""


def run_round(stages: Sequence[StageRow], ledger: Ledger, servers: Servers) -> None:
    """Launch each stage that has had the fewest launches; end those that a parent's failure stops."""
    runnable = []
    for stage in stages:
        blocked = ledger.blocked(stage)
        if blocked is None:
            runnable.append(stage)
        else:
            ledger.enter(stage, 0, blocked)
    if not runnable:
        return
    round_ = min(ledger.launches[stage.key] for stage in runnable)
    due = [stage for stage in runnable if ledger.launches[stage.key] == round_]
    if round_ % 2:
        due.reverse()
    executor = servers.start(due)
    try:
        for stage in due:
            _launch(stage, ledger, executor)
            if not executor.alive:
                break  # what is still due comes in the next round, from a server of its own
    finally:
        servers.stop(executor)


def _launch(stage: StageRow, ledger: Ledger, executor: ForkServerExecutor) -> None:
    """Launch a stage, and once more where that was disturbed, as long as the round's tries last."""
    job = ledger.job
    for _ in range(TRIES_IN_A_ROUND):
        number = ledger.launches[stage.key] + ledger.repeats[stage.key]
        ledger.display.started(title(stage), f", launch {ledger.launches[stage.key] + 1}")
        result = executor.submit(job.request(stage, number, job.resources.cpus)).result()
        if not ledger.enter(stage, number, result) or ledger.has_ended(stage):
            return
        if ledger.count_launch(stage) or not executor.alive:
            return
