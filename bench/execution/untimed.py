"""Runs untimed stages: each as soon as its parents have ended, side by side where their kinds allow."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace

from bench.costs.timeline import now_s
from bench.execution.executor import ForkServerExecutor
from bench.execution.ledger import Ledger, title
from bench.execution.servers import Servers
from bench.metrics import metric_named
from bench.plan.planner import runs_alone
from bench.records import Measurement, Result
from bench.results.artifacts import read_record
from bench.results.store import StageRow
from bench.stages import STAGES


@dataclass
class Untimed:
    """The untimed stages of a run: what waits, what runs on which cores, which cores are free."""

    ledger: Ledger
    servers: Servers
    waiting: list[StageRow] = field(default_factory=list)
    running: dict[Future[Result], tuple[StageRow, tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._free = list(self.ledger.job.resources.cpus)
        self._executor: ForkServerExecutor | None = None

    def run(self, stages: Sequence[StageRow]) -> None:
        """Run each stage once its parents have ended, one core each or alone with all of them."""
        self.waiting = list(stages)
        try:
            while self.waiting or self.running:
                self._start_what_can()
                done, _ = wait(self.running, timeout=1.0, return_when=FIRST_COMPLETED)
                self.ledger.display.draw()
                for future in done:
                    self._take_up(future)
                new = [stage for stage in self.ledger.share_out() if not stage.timed]
                planned = self.ledger.stages
                self.waiting = [planned[stage.key] for stage in self.waiting] + new
        finally:
            if self._executor is not None:
                self.servers.stop(self._executor)

    def _start_what_can(self) -> None:
        for stage in [stage for stage in self.waiting if self.ledger.ready(stage)]:
            if self._settled_without_running(stage):
                self.waiting.remove(stage)
                continue
            alone = runs_alone(stage)
            if (alone and self.running) or not self._free:
                break  # no stage overtakes: one that needs all cores would wait forever
            self._start(stage, tuple(self._free) if alone else (self._free[0],))

    def _start(self, stage: StageRow, cpus: tuple[int, ...]) -> None:
        job = self.ledger.job
        if self._executor is None or not self._executor.alive:
            expected = self.ledger.left() if job.smoke else self.waiting
            self._executor = self.servers.start(expected, self._executor)
        self._free = [cpu for cpu in self._free if cpu not in cpus]
        self.waiting.remove(stage)
        self.ledger.display.started(title(stage))
        self.running[self._executor.submit(job.request(stage, 0, cpus))] = (stage, cpus)

    def _take_up(self, future: Future[Result]) -> None:
        stage, cpus = self.running.pop(future)
        self._free += cpus
        if not self.ledger.enter(stage, 0, future.result()):
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
        """Return an existing artifact's result, and whether this run made it; None if it must be made."""
        job = self.ledger.job
        if not STAGES.get(stage.kind).leaves_artifact:
            return None
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


def _not_again(measurement: Measurement) -> Measurement:
    """Keep an earlier run's measurement only if another run would measure the same value."""
    if metric_named(measurement.metric).kind != "sampled":
        return measurement
    reason = "the artifact was made in an earlier run; this one did not measure it again"
    return replace(measurement, value=None, low=None, high=None, samples=(), reason=reason)
