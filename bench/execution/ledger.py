"""What has ended in a run and what is left: launches, repeats of disturbed ones, launches that were killed.

All of it follows from the store, so that a run that goes on after an interruption comes to the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count as numbers

from bench.analysis.disturbed import repeats_help
from bench.analysis.statistics import LOOKS, launch_interval
from bench.costs import Estimator
from bench.costs.timeline import STORE, Timeline
from bench.execution.job import Job
from bench.execution.progress import Display
from bench.formatting import counted
from bench.identity.reuse import Unchanged
from bench.plan.planner import Plan, runs_alone
from bench.plan.sharing import Sharing
from bench.records import STRUCTURE, Result
from bench.results.folder import full_disk, is_full, tells_of_full_disk
from bench.results.store import StageRow
from bench.stages import STAGES

MAX_KILLS = 3
"""Launches of a stage that are killed: it has failed then."""

_FAILED = Result("failed")


class Ledger:
    """Enters what launches found, and says what is left to do; a stage that ended is never started again."""

    def __init__(self, job: Job, plan: Plan, timeline: Timeline, estimator: Estimator) -> None:
        self.job = job
        self.timeline = timeline
        self.display = Display(len(plan.stages), self._rest_s)
        self.launches: Counter[str] = Counter()
        self.repeats: Counter[str] = Counter()
        self._sharing = Sharing(plan)
        self._estimator = estimator
        self._unchanged = Unchanged(job.results)
        self._ended: dict[str, Result] = {}
        self._kills: Counter[str] = Counter()
        self._disturbed: dict[str, str] = {}
        self._good = self._bad = 0
        self._repeating = True
        self._reopened: set[str] = set()
        self._numbers: defaultdict[str, set[int]] = defaultdict(set)
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        self._workloads: tuple[Plan, dict[str, str]] | None = None

    @property
    def stages(self) -> Mapping[str, StageRow]:
        """The stages of the plan as it is now, by key."""
        return self._sharing.plan.stages

    @property
    def ok(self) -> bool:
        """Whether no stage failed."""
        return all(result.state in ("ok", "skipped") for result in self._ended.values())

    def left(self) -> list[StageRow]:
        """Return the stages that have not ended."""
        return [stage for key, stage in self._sharing.plan.stages.items() if key not in self._ended]

    def has_ended(self, stage: StageRow) -> bool:
        return stage.key in self._ended

    def ready(self, stage: StageRow) -> bool:
        """Say whether all have ended that a stage builds on, or that may share it."""
        return self._sharing.ready(stage, self._ended)

    def workload_of(self, stage: StageRow) -> str:
        """Return the workload of a stage's cells, the first of several; empty where no cell has it."""
        plan = self._sharing.plan
        if self._workloads is None or self._workloads[0] is not plan:
            pairs = [
                (key, cell.axes.get("workload", "")) for cell in plan.cells for key in cell.stages.values()
            ]
            self._workloads = plan, {str(key): str(workload) for key, workload in reversed(pairs)}
        return self._workloads[1].get(stage.key, "")

    def next_launch(self, stage: StageRow) -> int:
        """Return the number of a launch that starts now; one that was ended from outside leaves its own."""
        taken = self._numbers[stage.key]
        number = next(number for number in numbers() if number not in taken)
        taken.add(number)
        return number

    def blocked(self, stage: StageRow) -> Result | None:
        """Return how a stage ends that a parent's end stops, None where it can run."""
        for parent in stage.parents:
            ended = self._ended.get(parent)
            if ended is not None and ended.state == "skipped":
                return Result("skipped", ended.reason)  # what began it, not each stage on the way
            if ended is not None and ended.state != "ok":
                its = self._sharing.plan.stages[parent]
                reason = f": {ended.reason}" if ended.reason else ""
                return Result("skipped", f"its {its.kind} stage ({its.label}) {ended.state}{reason}")
        return None

    def remember(self) -> None:
        """Take up what an interrupted execution of this run has finished."""
        store, run_id = self.job.store, self.job.run_id
        reasons = store.reasons(run_id)
        for key, launch, state in store.launch_results(run_id):
            stage = self._sharing.plan.stages[key]
            if state != "killed":
                self._numbers[key].add(launch)
            if state == "killed":
                self._count_kill(stage, Result("killed", "ended from outside"))
            elif state != "ok" or not stage.timed:
                self._ended[key] = Result(state, reasons[key])  # type: ignore[arg-type]
        for entry in store.values_of(run_id, STRUCTURE, "valid"):
            self._sharing.note(*entry)
        self._remember_spent()
        self._count()
        for key in list(self.launches):
            self.look(self._sharing.plan.stages[key])

    def reopen(self) -> bool:
        """Take up again the stages of which a later launch has shown that earlier ones were disturbed.

        Returns whether there is anything left to do.
        """
        before = dict(self.launches)
        self._count()
        for key, launches in before.items():
            if self._is_spent(self._sharing.plan.stages[key]):
                continue
            if self.launches[key] < launches and self._ended.get(key, _FAILED).state == "ok":
                del self._ended[key]
                self._reopened.add(key)
                self.look(self._sharing.plan.stages[key])
        return bool(self.left())

    def share_out(self) -> list[StageRow]:
        """Split timings that were planned for artifacts of several structures; returns the new stages."""
        launched = [key for key, count in (self.launches + self.repeats).items() if count]
        before = set(self._sharing.plan.stages)
        changes = self._sharing.split(self._ended, launched)
        if changes is None:
            return []
        with self.timeline.part(STORE):
            self.job.store.change_plan(self.job.run_id, changes.stages, changes.cells)
        new = [stage for stage in changes.stages if stage.key not in before]
        self.display.expect(len(new))
        return new

    def enter(
        self, stage: StageRow, launch: int, result: Result, *, reused: bool = False, ran: bool = True
    ) -> bool:
        """Enter a result in the store.

        Returns False where the launch was ended from outside and is to be tried again. Raises the error of a
        full disk where that is what a stage failed of.
        """
        if result.state not in ("ok", "skipped") and self._lacked_space(result):
            raise full_disk(self.job.results)
        if result.state == "ok":
            objection = self._unchanged.objection(stage, result.dynamic.get("modules", {}))
            result = replace(result, state="failed", reason=objection) if objection else result
        if ran:
            self._spend_on(stage, result.wall_s)
            self.timeline.body(result.start_s, result.body_s)
        with self.timeline.part(STORE):
            self._disturbed[stage.key] = self.job.store.add_launch(
                self.job.run_id, stage, launch, result, reused=reused
            )
        if result.state == "killed":
            self._numbers[stage.key].discard(launch)
            self.display.ended(title(stage), _described(result, ran), counts=False)
            return self._count_kill(stage, result)
        if result.state == "ok" and ran:
            self._estimator.learn(stage, launch, result)
        for entry in result.measurements:
            self._sharing.note(stage.key, entry.metric, entry.qualifier, entry.value, entry.method)
        if result.state != "ok" or not stage.timed:
            self._ended[stage.key] = result
            self.display.ended(title(stage), _described(result, ran))
        return True

    def count_launch(self, stage: StageRow) -> bool:
        """Count a good launch; returns False where it was disturbed and is to be repeated."""
        disturbed = self._disturbed.get(stage.key)
        self._good += 1
        self._bad += bool(disturbed)
        self._see_whether_repeats_help()
        left = self.job.max_repeats - self.repeats[stage.key] if self._repeating else 0
        if disturbed and left > 0 and not self._is_spent(stage):
            self.repeats[stage.key] += 1
            self.display.repeated(title(stage), disturbed)
            return False
        self.launches[stage.key] += 1
        self.look(stage)
        return True

    def _see_whether_repeats_help(self) -> None:
        helped, self._repeating = self._repeating, repeats_help(self._good, self._bad)
        if helped and not self._repeating and self.job.max_repeats:
            share = f"{self._bad} of {self._good} launches were disturbed"
            self.display.say(f"{share}: while it is most of them, none is repeated")

    def look(self, stage: StageRow) -> None:
        """End a timed stage whose interval is narrow enough, or whose launches or time are used up."""
        launches, most = self.launches[stage.key], self.job.max_launches
        spent = launches >= LOOKS[0] and self._is_spent(stage)
        if stage.key in self._ended or (launches < most and launches not in LOOKS and not spent):
            return
        metric = STAGES.get(stage.kind).timed_by
        values = self.job.store.launch_values(self.job.run_id, stage.key, metric)
        target = self.job.budget.target_interval
        enough = bool(values) and launch_interval(values).relative_half_width <= target
        if launches >= most or enough or spent:
            self._ended[stage.key] = Result("ok")
            first = stage.key not in self._reopened
            early = spent and not enough and launches < most
            how = f"ok {counted(launches, 'launch')}" + (", its time budget is spent" if early else "")
            self.display.ended(title(stage), how, counts=first)

    def end_timed(self) -> None:
        """End the timed stages as they are: launches were asked for one by one, and no more are."""
        for stage in self.left():
            if stage.timed:
                self._ended[stage.key] = Result("ok")

    def spend(self, stages: Sequence[StageRow], seconds: float) -> None:
        """Add seconds that stages have taken together to what their workloads have spent."""
        for stage in stages:
            self._spent_s[self.workload_of(stage)] += seconds / len(stages)

    def _spend_on(self, stage: StageRow, wall_s: float) -> None:
        """Add what a launch took. Training is none of it: its own budget is one of steps."""
        row = STAGES.known(stage.kind)
        if stage.timed or (row is not None and row.works != "trains"):
            self.spend([stage], wall_s / (1 if runs_alone(stage) else len(self.job.resources.cpus)))

    def end_spent(self) -> None:
        """End the timed stages that have an interval, and whose workload has spent its time budget."""
        for stage in self.left() if self.job.budget.budget_s is not None else ():
            if stage.timed and self._is_spent(stage):
                self.look(stage)

    def _is_spent(self, stage: StageRow) -> bool:
        limit = self.job.budget.budget_s
        return limit is not None and self._spent_s[self.workload_of(stage)] >= limit

    def _rest_s(self) -> float:
        return self._estimator.rest_s(self.left(), self.launches)

    def _count(self) -> None:
        """Count timed stages' launches in the store; disturbed ones are repeated, as often as that goes."""
        counts = self.job.store.launch_counts(self.job.run_id)
        timed = {key: count for key, count in counts.items() if self._sharing.plan.stages[key].timed}
        self._good = sum(count.good for count in timed.values())
        self._bad = sum(count.disturbed for count in timed.values())
        self._see_whether_repeats_help()
        for key, count in timed.items():
            most = self.job.max_repeats if self._repeating else self.repeats[key]
            self.repeats[key] = min(count.disturbed, most)
            self.launches[key] = count.good - self.repeats[key]
            if self._is_spent(self._sharing.plan.stages[key]):  # disturbed ones count too
                self.launches[key] = max(self.launches[key], min(count.good, LOOKS[0]))

    def _remember_spent(self) -> None:
        if self.job.budget.budget_s is None:
            return
        launches = self.job.store.launches(self.job.run_id)
        for key, wall_s in zip(launches["stage_key"], launches["wall_s"], strict=True):
            self._spend_on(self._sharing.plan.stages[str(key)], float(wall_s))

    def _count_kill(self, stage: StageRow, result: Result) -> bool:
        self._kills[stage.key] += 1
        if self._kills[stage.key] < MAX_KILLS:
            return False
        self._ended[stage.key] = replace(result, reason=f"{result.reason}, {MAX_KILLS} times")
        return True

    def _lacked_space(self, result: Result) -> bool:
        # A library may call a full disk anything, or a signal end its worker.
        return tells_of_full_disk(result.reason + result.output_tail) or is_full(self.job.results)


def title(stage: StageRow) -> str:
    """Return how a stage is called while the run goes on."""
    return f"{stage.kind} {stage.label}"


def _described(result: Result, ran: bool) -> str:
    if result.state == "ok":
        return f"ok {result.wall_s:.1f} s" if ran else "ok (reused)"
    return f"{result.state.upper()}: {result.reason}"
