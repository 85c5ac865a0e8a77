"""Runs untimed stages: each as soon as its parents have ended, side by side where their kinds allow.

Near their end, cores that are idle start the servers of the first rounds of launches.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from bench.analysis.statistics import LOOKS
from bench.costs.daily import keep_daily, read_daily
from bench.costs.timeline import now_s
from bench.execution.engines.engine import Executor, Node
from bench.execution.ledger import Ledger, title
from bench.execution.servers import Servers
from bench.execution.tasks import Task, Tasks
from bench.metrics import metric_named
from bench.plan.planner import runs_alone
from bench.records import Measurement, Result
from bench.results.artifacts import read_record
from bench.results.store import StageRow
from bench.stages import STAGES

_FEW = 16
"""With so few untimed stages left, none of them long, servers of the rounds to come start beside them."""


@dataclass
class _Place:
    """A node with its cores that are free, and its server once it has one."""

    node: Node
    free: list[int]
    executor: Executor | None = None
    starting: bool = False
    imported: Sequence[StageRow] = ()
    prepared: int = 0

    @property
    def open(self) -> bool:
        return self.executor is not None and self.executor.alive

    def room(self, *, alone: bool) -> tuple[int, ...]:
        """Return the cores of a stage that may start here now: all or one of them; none where it may not."""
        if alone:
            return tuple(self.free) if len(self.free) == len(self.node.resources.cpus) else ()
        return tuple(self.free[:1])


@dataclass
class Untimed:
    """The untimed stages of a run: what waits, what runs, which cores of which node are free."""

    ledger: Ledger
    servers: Servers
    waiting: list[StageRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tasks = Tasks()
        self._places: dict[str, _Place] = {}

    def run(self, stages: Sequence[StageRow]) -> None:
        """Run each stage once its parents have ended, one core each or alone with all of a node's."""
        self.waiting = list(stages)
        try:
            with closing(self._tasks):
                while self.waiting or self._tasks:
                    self._look_for_nodes()
                    self._start_what_can()
                    self._prepare_rounds()
                    self.ledger.display.coming([title(stage) for stage in self.waiting])
                    self._tasks.step(timeout_s=1.0)
                    self.ledger.display.draw()
                    new = [stage for stage in self.ledger.share_out() if not stage.timed]
                    planned = self.ledger.stages
                    self.waiting = [planned[stage.key] for stage in self.waiting] + new
        finally:
            for place in self._places.values():
                if place.executor is not None:
                    self._leave(place, place.executor)

    def _look_for_nodes(self) -> None:
        """Take up nodes that have come, and leave those that are lost."""
        nodes = {node.name: node for node in self.servers.nodes(wait=not self._tasks)}
        # One that is back again may have other cores than before.
        for name in [name for name, place in self._places.items() if nodes.get(name) != place.node]:
            lost = self._places.pop(name)
            if lost.executor is not None:
                self.servers.stop(lost.executor)
        for name in nodes.keys() - self._places.keys():
            self._places[name] = _Place(nodes[name], list(nodes[name].resources.cpus))

    def _start_what_can(self) -> None:
        for stage in [stage for stage in self.waiting if self.ledger.ready(stage)]:
            if self._settled_without_running(stage):
                self.waiting.remove(stage)
                continue
            alone = runs_alone(stage)
            roomy = [place for place in self._places.values() if place.room(alone=alone)]
            ready = [place for place in roomy if place.open]
            if ready:
                # The emptiest node: what runs next to others shares their caches.
                place = max(ready, key=lambda place: len(place.free))
                self._start(stage, place, place.room(alone=alone))
                continue
            closed = [place for place in roomy if not place.starting]
            if not closed:
                break  # no stage overtakes: one that needs all cores would wait forever
            self._tasks.start(self._opening(closed[0]))

    def _opening(self, place: _Place) -> Task[None]:
        place.starting = True
        place.imported = self._expected()
        began = time.monotonic()
        place.executor = yield from self.servers.start(place.node, place.imported, place.executor)
        self.ledger.spend(self.waiting, time.monotonic() - began)
        place.starting = False

    def _expected(self) -> list[StageRow]:
        """Return the stages whose imports a server needs: where it serves a round later, those of all."""
        left = self.ledger.left()
        return left if self.ledger.job.smoke or self._is_short() else self.waiting

    def _is_short(self) -> bool:
        return sum(not stage.timed for stage in self.ledger.left()) <= _FEW

    def _prepare_rounds(self) -> None:
        """Start servers of the rounds that are certain to come, each on a core that is idle.

        Only near the end, and beside nothing that has all cores: that waits for servers which start, at most
        for those that start with the first one.
        """
        left = self.ledger.left()
        if self.ledger.job.smoke or not self._is_short() or not any(stage.timed for stage in left):
            return
        rounds = min(LOOKS[0], self.ledger.job.max_launches)
        alone = any(runs_alone(stage) for stage in left if not stage.timed)
        for place in self._places.values():
            cores = len(place.node.resources.cpus)
            most = min(rounds, cores if place.starting else 0) if alone else rounds
            # The server of the untimed stages serves the first round; while it starts, it has a core too.
            while place.prepared + 1 < most and len(place.free) > place.starting:
                place.prepared += 1
                self._tasks.start(self._preparing(place, place.free.pop()))

    def _preparing(self, place: _Place, cpu: int) -> Task[None]:
        yield from self.servers.prepare(place.node, self.ledger.left())
        place.free.append(cpu)

    def _leave(self, place: _Place, executor: Executor) -> None:
        """Stop a server, or keep it for the first round where others have been started for the next ones."""
        if place.prepared:
            self.servers.spare(place.node, executor, place.imported)
        else:
            self.servers.stop(executor)

    def _start(self, stage: StageRow, place: _Place, cpus: tuple[int, ...]) -> None:
        place.free = [cpu for cpu in place.free if cpu not in cpus]
        self.waiting.remove(stage)
        self.ledger.display.started(title(stage))
        self._tasks.start(self._running(stage, place, cpus))

    def _running(self, stage: StageRow, place: _Place, cpus: tuple[int, ...]) -> Task[None]:
        assert place.executor is not None, "only an open place has room"
        request = self.ledger.job.request(stage, 0, cpus, place.node.resources)
        result = yield place.executor.submit(request)
        place.free += cpus
        exchange = self.ledger.job.exchange
        if exchange is not None and result.artifact is not None:
            exchange.publish(self.ledger.job.results, stage.key)  # unless its node has, where it lies only
        if not self.ledger.job.smoke:
            keep_daily(stage, result, _machine(place.node))
        if not self.ledger.enter(stage, 0, result):
            self.waiting.insert(0, stage)

    def _settled_without_running(self, stage: StageRow) -> bool:
        """End a stage whose parent failed, or whose artifact exists already."""
        blocked = self.ledger.blocked(stage)
        if blocked is not None:
            self.ledger.enter(stage, 0, blocked)
            return True
        reused = self._reused(stage)
        if reused is None:
            return False
        result, own = reused
        self.ledger.enter(stage, 0, result, reused=not own, ran=False)
        return True

    def _reused(self, stage: StageRow) -> tuple[Result, bool] | None:
        """Return a result that exists already, and whether this run made it; None if it must be made."""
        job = self.ledger.job
        if not STAGES.get(stage.kind).leaves_artifact:
            machines = () if job.rebuild else (_machine(place.node) for place in self._places.values())
            kept = (read_daily(stage, machine) for machine in machines)
            return next(((daily, False) for daily in kept if daily is not None), None)
        record = read_record(job.results, stage.key)
        entered = job.store.artifact_sha256(stage.key)
        if record is None or (entered is not None and entered != record.artifact.sha256):
            return None
        own = record.run_id == job.run_id
        if job.rebuild and not own:
            return None
        measurements = record.measurements if own else tuple(map(_not_again, record.measurements))
        body_s = record.body_s if own else 0.0
        result = Result(
            "ok", start_s=now_s(), body_s=body_s, measurements=measurements, artifact=record.artifact
        )
        return result, own


def _machine(node: Node) -> str:
    """Return what results that hold for a node's machine are kept by; empty for this one."""
    return f"{node.machine} {node.kind}".strip()


def _not_again(measurement: Measurement) -> Measurement:
    """Keep an earlier run's measurement only if another run would measure the same value."""
    if metric_named(measurement.metric).kind != "sampled":
        return measurement
    reason = "the artifact was made in an earlier run; this one did not measure it again"
    return replace(measurement, value=None, low=None, high=None, samples=(), reason=reason)
