"""Carries out a plan: untimed stages as their parents end, then rounds of timed launches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from bench.analysis.statistics import LOOKS, launch_interval
from bench.costs import Estimator
from bench.costs.timeline import STORE, Timeline, now_s
from bench.execution.executor import ForkServerExecutor
from bench.execution.progress import Display
from bench.execution.resources import Resources
from bench.execution.servers import Servers
from bench.formatting import counted
from bench.identity.reuse import Unchanged
from bench.matrix.file import Budget
from bench.metrics import PRIMARY, metric_named
from bench.plan.planner import Plan, runs_alone
from bench.plan.sharing import Sharing
from bench.records import STRUCTURE, Measurement, Request, Result
from bench.results.artifacts import LEAVES_ARTIFACT, read_record
from bench.results.folder import WORK, full_disk, is_full, tells_of_full_disk
from bench.results.store import StageRow, Store

MOST_KILLS = 3
"""Launches of a stage that are killed: it has failed then."""

LEAST_REPEATS = 9
"""Disturbed launches of a stage that are made again, or as many as its most launches if that is more.

A machine that is never quiet must end too.
"""

TRIES_IN_A_ROUND = 3
"""Launches of a stage from one server until nothing disturbs one: a neighbour stays longer than a moment, a
server costs a second."""

_FAILED = Result("failed")


class Runner:
    """One run's execution. It alone writes the store; a stage that ended is never started again."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        run_id: str,
        results: Path,
        budget: Budget,
        resources: Resources,
        plugins: Mapping[str, str],
        timeline: Timeline,
        estimator: Estimator,
        *,
        smoke: bool = False,
        anew: bool = False,
        trusted: tuple[str, ...] = (),
    ) -> None:
        self._sharing = Sharing(plan)
        self._store = store
        self._run_id = run_id
        self._results = results
        self._work = results / WORK
        self._budget = budget
        self._resources = resources
        self._plugins = plugins
        self._trusted = trusted
        self._timeline = timeline
        self._smoke = smoke
        self._anew = anew
        self._estimator = estimator
        self._unchanged = Unchanged(results)
        self._ended: dict[str, Result] = {}
        self._launches: Counter[str] = Counter()
        self._kills: Counter[str] = Counter()
        self._repeats: Counter[str] = Counter()
        self._disturbed: dict[str, str] = {}
        self._reopened: set[str] = set()
        self._display = Display(len(plan.stages), self._rest_s)
        self._servers = Servers(
            lambda imports: ForkServerExecutor(self._work, results, imports, budget.allocator),
            timeline,
            kept=smoke,
        )

    @property
    def _plan(self) -> Plan:
        return self._sharing.plan

    def run(self) -> bool:
        """Carry out what is left of the plan; returns whether no stage failed."""
        self._remember()
        with self._display, closing(self._servers):
            self._share_out()
            untimed = [stage for stage in self._left() if not stage.timed]
            if untimed:
                self._run_untimed(untimed)
            while self._left() or self._reopen():
                self._run_round(self._left())
                self._share_out()
        return all(result.state in ("ok", "skipped") for result in self._ended.values())

    # What is over, and what is left

    def _remember(self) -> None:
        """Take up what an interrupted execution of this run has finished."""
        reasons = self._store.reasons(self._run_id)
        for key, _, state in self._store.launch_results(self._run_id):
            stage = self._plan.stages[key]
            if state == "killed":
                self._count_kill(stage, Result("killed", "ended from outside"))
            elif state != "ok" or not stage.timed:
                self._ended[key] = Result(state, reasons[key])  # type: ignore[arg-type]
        for entry in self._store.values_of(self._run_id, STRUCTURE, "valid"):
            self._sharing.note(*entry)
        self._count()
        for key in list(self._launches):
            self._look(self._plan.stages[key])

    def _count(self) -> None:
        """Count timed stages' launches in the store; disturbed ones are made again, as often as that goes."""
        for key, count in self._store.launch_counts(self._run_id).items():
            if self._plan.stages[key].timed:
                self._repeats[key] = min(count.disturbed, self._most_repeats)
                self._launches[key] = count.good - self._repeats[key]

    def _reopen(self) -> bool:
        """Take up again the stages of which a later launch has shown that earlier ones were disturbed."""
        before = dict(self._launches)
        self._count()
        for key, launches in before.items():
            if self._launches[key] < launches and self._ended.get(key, _FAILED).state == "ok":
                del self._ended[key]
                self._reopened.add(key)
                self._look(self._plan.stages[key])
        return bool(self._left())

    @property
    def _most_repeats(self) -> int:
        most, given = self._budget.max_launches, self._budget.max_repeats
        if self._smoke or most == 1:
            return 0
        return max(LEAST_REPEATS, most) if given is None else given

    def _left(self) -> list[StageRow]:
        return [stage for key, stage in self._plan.stages.items() if key not in self._ended]

    def _rest_s(self) -> float:
        return self._estimator.rest_s(self._left(), self._launches)

    def _blocked(self, stage: StageRow) -> Result | None:
        for parent in stage.parents:
            ended = self._ended.get(parent)
            if ended is not None and ended.state == "skipped":
                return Result("skipped", ended.reason)  # what began it, not each stage on the way
            if ended is not None and ended.state != "ok":
                its = self._plan.stages[parent]
                reason = f": {ended.reason}" if ended.reason else ""
                return Result("skipped", f"its {its.kind} stage ({its.label}) {ended.state}{reason}")
        return None

    def _share_out(self) -> list[StageRow]:
        """Split timings that were planned for artifacts of several structures; returns the new stages."""
        launched = [key for key, count in (self._launches + self._repeats).items() if count]
        before = set(self._plan.stages)
        changes = self._sharing.split(self._ended, launched)
        if changes is None:
            return []
        with self._timeline.part(STORE):
            self._store.change_plan(self._run_id, changes.stages, changes.cells)
        new = [stage for stage in changes.stages if stage.key not in before]
        self._display.expect(len(new))
        return new

    # Untimed stages

    def _run_untimed(self, stages: Sequence[StageRow]) -> None:
        """Run each stage once its parents have ended; side by side, one core each, where kinds allow."""
        waiting = list(stages)
        running: dict[Future[Result], tuple[StageRow, tuple[int, ...]]] = {}
        free = list(self._resources.cpus)
        executor: ForkServerExecutor | None = None
        try:
            while waiting or running:
                for stage in self._startable(waiting):
                    if self._settle_without_running(stage):
                        waiting.remove(stage)
                        continue
                    alone = runs_alone(stage)
                    if (alone and running) or not free:
                        break  # nobody overtakes: what needs all cores would wait for ever
                    if executor is None or not executor.alive:
                        executor = self._servers.start(self._left() if self._smoke else waiting, executor)
                    cpus = tuple(free) if alone else (free[0],)
                    free = [cpu for cpu in free if cpu not in cpus]
                    waiting.remove(stage)
                    self._display.started(_title(stage))
                    running[executor.submit(self._request(stage, 0, cpus))] = (stage, cpus)
                done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                self._display.draw()
                for future in done:
                    stage, cpus = running.pop(future)
                    free += cpus
                    if not self._enter(stage, 0, future.result()):
                        waiting.insert(0, stage)
                new = [stage for stage in self._share_out() if not stage.timed]
                waiting = [self._plan.stages[stage.key] for stage in waiting] + new
        finally:
            if executor is not None:
                self._servers.stop(executor)

    def _startable(self, waiting: Iterable[StageRow]) -> list[StageRow]:
        return [stage for stage in waiting if self._sharing.ready(stage, self._ended)]

    def _settle_without_running(self, stage: StageRow) -> bool:
        """End a stage that a parent's failure stops, or whose artifact is there already."""
        blocked = self._blocked(stage)
        if blocked is not None:
            self._enter(stage, 0, blocked)
            return True
        if stage.kind not in LEAVES_ARTIFACT:
            return False
        record = read_record(self._results, stage.key)
        entered = self._store.artifact_sha256(stage.key)
        if record is None or (entered is not None and entered != record["artifact"]["sha256"]):
            return False
        own = record["run_id"] == self._run_id
        if self._anew and not own:
            return False
        measurements = tuple(Measurement.from_json(entry) for entry in record["measurements"])
        result = Result(
            "ok",
            start_s=now_s(),
            body_s=record["body_s"] if own else 0.0,
            measurements=measurements if own else tuple(map(_not_again, measurements)),
            artifact=record["artifact"],
        )
        self._enter(stage, 0, result, reused=not own, ran=False)
        return True

    # Timed launches

    def _run_round(self, stages: Sequence[StageRow]) -> None:
        """Launch each stage that has had the fewest launches, from one fresh server."""
        runnable = []
        for stage in stages:
            blocked = self._blocked(stage)
            if blocked is None:
                runnable.append(stage)
            else:
                self._enter(stage, 0, blocked)
        if not runnable:
            return
        round_ = min(self._launches[stage.key] for stage in runnable)
        due = [stage for stage in runnable if self._launches[stage.key] == round_]
        if round_ % 2:
            due.reverse()
        executor = self._servers.start(due)
        try:
            for stage in due:
                self._launch(stage, executor)
                if not executor.alive:
                    break  # what is still due comes in the next round, from a server of its own
        finally:
            self._servers.stop(executor)

    def _launch(self, stage: StageRow, executor: ForkServerExecutor) -> None:
        """Launch a stage, and once more where that was disturbed, as long as the round's tries last."""
        for _ in range(TRIES_IN_A_ROUND):
            number = self._launches[stage.key] + self._repeats[stage.key]
            self._display.started(_title(stage), f", launch {self._launches[stage.key] + 1}")
            result = executor.submit(self._request(stage, number, self._resources.cpus)).result()
            if not self._enter(stage, number, result) or stage.key in self._ended:
                return
            if not self._to_repeat(stage):
                self._launches[stage.key] += 1
                self._look(stage)
                return
            if not executor.alive:
                return

    def _to_repeat(self, stage: StageRow) -> bool:
        """Say whether a stage's latest launch was disturbed and is to be made again; the store keeps it."""
        disturbed = self._disturbed.get(stage.key)
        if not disturbed or self._repeats[stage.key] >= self._most_repeats:
            return False
        self._repeats[stage.key] += 1
        self._display.ended(_title(stage), f"disturbed, again: {disturbed}", counts=False)
        return True

    def _look(self, stage: StageRow) -> None:
        """End a timed stage whose interval is narrow enough, or whose launches are used up."""
        launches = self._launches[stage.key]
        most = 1 if self._smoke else self._budget.max_launches
        if stage.key in self._ended or (launches < most and launches not in LOOKS):
            return
        values = self._store.launch_values(self._run_id, stage.key, PRIMARY[stage.kind])
        enough = bool(values) and launch_interval(values).relative_half_width <= self._budget.target_interval
        if launches >= most or enough:
            self._ended[stage.key] = Result("ok")
            first = stage.key not in self._reopened
            self._display.ended(_title(stage), f"ok {counted(launches, 'launch')}", counts=first)

    # Between the store and the workers

    def _enter(
        self, stage: StageRow, round_: int, result: Result, *, reused: bool = False, ran: bool = True
    ) -> bool:
        """Enter a result in the store; returns False where the launch was ended from outside and is to be
        tried again."""
        if result.state not in ("ok", "skipped") and self._lacked_space(result):
            raise full_disk(self._results)
        if result.state == "ok":
            objection = self._unchanged.objection(stage, result.dynamic.get("modules", {}))
            result = replace(result, state="failed", reason=objection) if objection else result
        if ran:
            self._timeline.body(result.start_s, result.body_s)
        with self._timeline.part(STORE):
            self._disturbed[stage.key] = self._store.add_launch(
                self._run_id, stage.key, stage.kind, round_, result, reused=reused
            )
        if result.state == "killed":
            self._display.ended(_title(stage), _describe(result, ran), counts=False)
            return self._count_kill(stage, result)
        if result.state == "ok" and ran:
            self._estimator.learn(stage, round_, result)
        for entry in result.measurements:
            self._sharing.note(stage.key, entry.metric, entry.qualifier, entry.value, entry.method)
        if result.state != "ok" or not stage.timed:
            self._ended[stage.key] = result
            self._display.ended(_title(stage), _describe(result, ran))
        return True

    def _lacked_space(self, result: Result) -> bool:
        # A library may call a full disk anything, or a signal end its worker.
        return tells_of_full_disk(result.reason + result.output_tail) or is_full(self._results)

    def _count_kill(self, stage: StageRow, result: Result) -> bool:
        self._kills[stage.key] += 1
        if self._kills[stage.key] < MOST_KILLS:
            return False
        self._ended[stage.key] = replace(result, reason=f"{result.reason}, {MOST_KILLS} times")
        return True

    def _request(self, stage: StageRow, round_: int, cpus: tuple[int, ...]) -> Request:
        share = len(cpus) / len(self._resources.cpus)
        return Request.planned(
            stage.kind,
            stage.key,
            stage.label,
            stage.request,
            plugins=self._plugins,
            results=str(self._results),
            run_id=self._run_id,
            round=round_,
            threads=len(cpus),
            cpus=cpus,
            memory_bytes=int(self._resources.memory_bytes * share),
            timeout_s=self._budget.timeout_s,
            smoke=self._smoke,
            all_passes=round_ == 0,
            trusted=self._trusted,
        )


def _title(stage: StageRow) -> str:
    return f"{stage.kind} {stage.label}"


def _describe(result: Result, ran: bool) -> str:
    if result.state == "ok":
        return f"ok {result.wall_s:.1f} s" if ran else "ok, was there already"
    return f"{result.state.upper()}: {result.reason}"


def _not_again(measurement: Measurement) -> Measurement:
    """Keep of an earlier run's measurement only what another run would measure to be the same."""
    if metric_named(measurement.metric).kind != "sampled":
        return measurement
    reason = "the artifact was made in an earlier run; this one did not measure it again"
    return replace(measurement, value=None, low=None, high=None, samples=(), reason=reason)
