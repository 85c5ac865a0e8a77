"""Launches of timed stages that another process asks for, one at a time: see `bench.regression.ab`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from bench.execution.engines.engine import Executor
from bench.execution.ledger import Ledger
from bench.execution.servers import Servers
from bench.execution.tasks import Task, finished
from bench.records import Result
from bench.results.store import StageRow
from bench.stages import STAGES


@dataclass(frozen=True)
class Offer:
    """A timed stage that can be launched, and the metric that it is timed by."""

    key: str
    stage: str
    metric: str


@dataclass(frozen=True)
class Launched:
    """What a launch measured, in the unit of its metric; None and the reason where it did not end well."""

    value: float | None
    reason: str = ""


Wanted = Iterator[str]
"""Keys of stages to launch; an empty one asks for a fresh server."""


class OnDemand:
    """Offers the timed stages of a run, and launches those that are asked for, from the latest server."""

    def __init__(
        self,
        wanted: Callable[[list[Offer]], Wanted],
        answer: Callable[[Launched], None],
    ) -> None:
        self._wanted = wanted
        self._answer = answer

    def __call__(self, ledger: Ledger, servers: Servers) -> None:
        """Serve launches until no more are wanted; then all stages that were offered have ended."""
        for stage in ledger.left():
            blocked = ledger.blocked(stage)
            if blocked is not None:
                ledger.enter(stage, 0, blocked)
        offered = [stage for stage in ledger.left() if stage.timed]
        offers = [
            Offer(stage.key, f"{stage.kind} {stage.label}", STAGES.get(stage.kind).timed_by)
            for stage in offered
        ]
        with closing(_Place(ledger, servers, offered)) as place:
            for key in self._wanted(offers):
                if key:
                    self._answer(place.launch(ledger.stages[key]))
                else:
                    place.renew()
                    self._answer(Launched(None))
        ledger.end_timed()


class _Place:
    """The first node, and the server that launches come from."""

    def __init__(self, ledger: Ledger, servers: Servers, stages: list[StageRow]) -> None:
        self._ledger = ledger
        self._servers = servers
        self._stages = stages
        self._node = servers.nodes()[0]
        self._executor: Executor | None = None

    def renew(self) -> None:
        """Start a server in place of the one that there is."""
        self.close()
        self._executor = finished(self._servers.start(self._node, self._stages))

    def launch(self, stage: StageRow) -> Launched:
        """Launch a stage once, in a process of its own."""
        if self._executor is None or not self._executor.alive:
            self.renew()
        result = finished(self._launch(stage))
        metric = STAGES.get(stage.kind).timed_by
        values = [
            entry.value for entry in result.measurements if entry.metric == metric and not entry.qualifier
        ]
        if result.state != "ok" or not values or values[0] is None:
            return Launched(None, result.reason or f"measured no {metric}")
        return Launched(float(values[0]))

    def _launch(self, stage: StageRow) -> Task[Result]:
        assert self._executor is not None
        ledger, resources = self._ledger, self._node.resources
        number = ledger.next_launch(stage)
        result = yield self._executor.submit(ledger.job.request(stage, number, resources.cpus, resources))
        ledger.enter(stage, number, result)
        return result

    def close(self) -> None:
        if self._executor is not None:
            self._servers.stop(self._executor)
            self._executor = None
