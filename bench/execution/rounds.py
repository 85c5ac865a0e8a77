"""Launches timed stages in rounds, each from one fresh server; every second round in reversed order.

A round runs on one node, one launch after the other, so that stages that are compared have as many launches
on each node: the nodes are the blocks of a randomized block design (Fisher 1926). The first round of a stage
has ended before its second one starts, and no round starts that a look at the intervals may make needless;
the others run side by side, as far as there are nodes. Stages of different workloads are not compared, so
that each workload has rounds of its own where there are several nodes.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing

from bench.analysis.statistics import LOOKS
from bench.execution.engines.engine import Executor, Node
from bench.execution.ledger import Ledger, title
from bench.execution.servers import Servers
from bench.execution.tasks import Task, Tasks, together
from bench.results.store import StageRow

TRIES_IN_A_ROUND = 3
"""Launches of a stage from one server until nothing disturbs one: a neighbour stays longer than a moment, a
server costs a second."""

_SHORT_ROUND = 8
"""Stages of a round that takes about as long as its server's imports."""


class Rounds:
    """The rounds of a run's timed stages, on the nodes of an engine."""

    def __init__(self, ledger: Ledger, servers: Servers) -> None:
        self._ledger = ledger
        self._servers = servers
        self._tasks = Tasks()
        self._busy: set[str] = set()
        self._due: Counter[str] = Counter()  # launches in rounds that run
        self._ended = False  # whether a round has, since the plan was looked at

    def run(self) -> None:
        """Launch every timed stage until its interval is narrow enough, or its launches are used up."""
        ledger = self._ledger
        with closing(self._tasks):
            while ledger.left() or ledger.reopen():
                self._start_rounds()
                self._tasks.step()
                if self._ended:
                    self._ended = False
                    ledger.share_out()

    def _start_rounds(self) -> None:
        """Start a round on each idle node, as far as any is due; end stages that a parent's failure stops."""
        ledger = self._ledger
        ledger.end_spent()
        for stage in ledger.left():
            blocked = ledger.blocked(stage)
            if blocked is not None:
                ledger.enter(stage, 0, blocked)
        nodes = self._servers.nodes(wait=not self._tasks)
        for node in nodes:
            due = [] if node.name in self._busy else self._next_round(several=len(nodes) > 1)
            if due:
                self._busy.add(node.name)
                self._due.update(stage.key for stage in due)
                self._tasks.start(self._round(node, due))

    def _next_round(self, *, several: bool) -> list[StageRow]:
        """Return the stages of the round to start next, in their order; none where all must wait."""
        groups: defaultdict[str, list[StageRow]] = defaultdict(list)
        for stage in self._ledger.left():
            groups[self._group(stage) if several else ""].append(stage)
        rounds = [round_ for stages in groups.values() if (round_ := self._round_of(stages))]
        return min(rounds, key=lambda stages: self._number(stages[0]), default=[])

    def _group(self, stage: StageRow) -> str:
        # A smoke run compares nothing.
        return stage.key if self._ledger.job.smoke else self._ledger.workload_of(stage)

    def _round_of(self, stages: Sequence[StageRow]) -> list[StageRow]:
        """Return those of a group's stages that have had the fewest launches, if another may start."""
        number = min(map(self._number, stages))
        running = any(self._due[stage.key] for stage in stages)
        if running and number in (1, *LOOKS, self._ledger.job.max_launches):
            return []
        due = [stage for stage in stages if self._number(stage) == number]
        if number % 2:
            due.reverse()
        return due

    def _number(self, stage: StageRow) -> int:
        return self._ledger.launches[stage.key] + self._due[stage.key]

    def _round(self, node: Node, due: Sequence[StageRow]) -> Task[None]:
        executor = None
        left = [stage.key for stage in due]
        try:
            started = time.monotonic()
            more = [self._servers.prepare(node, due) for _ in range(self._more_servers(node, due))]
            executor, *_ = yield from together([self._servers.start(node, due), *more])
            self._ledger.spend(due, time.monotonic() - started)
            while left and executor is not None and executor.alive:
                # What is left where it ended comes in another round, from a server of its own.
                self._ledger.display.coming([title(self._ledger.stages[key]) for key in left[1:]])
                yield from self._launch(self._ledger.stages[left[0]], node, executor)
                self._due[left.pop(0)] -= 1
        finally:
            if executor is not None:
                self._servers.stop(executor)
            self._due.subtract(left)
            self._busy.discard(node.name)
            self._ended = True
            self._ledger.display.round_ended()

    def _more_servers(self, node: Node, due: Sequence[StageRow]) -> int:
        """Return how many servers of later rounds to start beside this one's, one on each idle core.

        Importing is most of a short round. Only rounds that no look at the intervals can spare are certain.
        """
        ledger = self._ledger
        if ledger.job.smoke or len(due) > _SHORT_ROUND or self._servers.has_spare(node):
            return 0
        done = min(ledger.launches[stage.key] for stage in due)
        looks = (*LOOKS, ledger.job.max_launches)
        certain = min((look for look in looks if look > done), default=done + 1) - done
        return max(0, min(certain, len(node.resources.cpus)) - 1)

    def _launch(self, stage: StageRow, node: Node, executor: Executor) -> Task[None]:
        """Launch a stage, and once more where that was disturbed, as long as the round's tries last."""
        ledger = self._ledger
        ledger.end_spent()
        refused = None if ledger.has_ended(stage) else ledger.blocked(stage)
        if refused is not None:
            ledger.enter(stage, 0, refused)
        for _ in range(0 if ledger.has_ended(stage) else TRIES_IN_A_ROUND):
            number = ledger.next_launch(stage)
            ledger.display.started(title(stage), f", launch {ledger.launches[stage.key] + 1}")
            request = ledger.job.request(stage, number, node.resources.cpus, node.resources)
            result = yield executor.submit(request)
            if not ledger.enter(stage, number, result) or ledger.has_ended(stage):
                return
            if ledger.count_launch(stage) or not executor.alive:
                return
