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
from bench.costs import Estimator, progress_of
from bench.costs.timeline import STORE, Timeline
from bench.execution.allowance import Allowance, spends
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
        self._allowance = self._allowance_of(plan)
        self._workloads: tuple[Plan, dict[str, str]] | None = None

    def _allowance_of(self, plan: Plan) -> Allowance | None:
        job = self.job
        if job.budget.budget_s is None or job.smoke:
            return None
        every = list(plan.stages.values())
        present = progress_of(every, job.results, job.store, job.run_id, rebuild=job.rebuild).present
        return Allowance(
            plan, job.budget.budget_s, self._estimator, self._ended, self.launches, frozenset(present)
        )

    @property
    def stages(self) -> Mapping[str, StageRow]:
        """The stages of the plan as it is now, by key."""
        return self._sharing.plan.stages

    @property
    def ok(self) -> bool:
        """Whether no stage failed."""
        return all(result.state in ("ok", "skipped") for result in self._ended.values())

    def left(self) -> list[StageRow]:
        """Return the stages that have not ended, of a run with a time budget those first that tell most."""
        found = [stage for key, stage in self._sharing.plan.stages.items() if key not in self._ended]
        return sorted(found, key=self._allowance.rank) if self._allowance else found

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
        """Return how a stage ends that a parent's end or the time budget stops, None where it can run."""
        for parent in stage.parents:
            ended = self._ended.get(parent)
            if ended is not None and ended.state == "skipped":
                return Result("skipped", ended.reason)  # what began it, not each stage on the way
            if ended is not None and ended.state != "ok":
                its = self._sharing.plan.stages[parent]
                reason = f": {ended.reason}" if ended.reason else ""
                return Result("skipped", f"its {its.kind} stage ({its.label}) {ended.state}{reason}")
        begun = self.launches[stage.key] or self.repeats[stage.key]
        if self._allowance and not begun:
            refusal = self._allowance.refusal(self.workload_of(stage), stage)
            return Result("skipped", refusal) if refusal else None
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
        if self._allowance:
            self._allowance.follow(self._sharing.plan)
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
        if disturbed and left > 0 and self._has_room(stage):
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
        spent = launches > 0 and self._is_spent(stage)
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
        if self._allowance is None:
            return
        for stage in stages:
            self._allowance.spent_s[self.workload_of(stage)] += seconds / len(stages)

    def _spend_on(self, stage: StageRow, wall_s: float) -> None:
        if spends(stage):
            self.spend([stage], wall_s / (1 if runs_alone(stage) else len(self.job.resources.cpus)))

    def end_spent(self) -> None:
        """End the timed stages that have a launch, and whose workload has spent its time budget."""
        for stage in self.left() if self._allowance else ():
            if stage.timed and self._is_spent(stage):
                # A disturbed launch counts where there is no time to repeat it.
                self.launches[stage.key] = self.launches[stage.key] or min(1, self.repeats[stage.key])
                self.look(stage)

    def _is_spent(self, stage: StageRow) -> bool:
        return self._allowance is not None and self._allowance.is_spent(self.workload_of(stage))

    def _has_room(self, stage: StageRow) -> bool:
        return self._allowance is None or self._allowance.has_room(self.workload_of(stage), stage)

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
        if self._allowance is None:
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
        # What was lost with a node of a cluster tells of that node's disk: others may have room.
        lost = result.state == "killed" and "node" in result.dynamic
        words = "" if lost else result.reason + result.output_tail
        # A library may call a full disk anything, or a signal end its worker.
        return tells_of_full_disk(words) or is_full(self.job.results)


def title(stage: StageRow) -> str:
    """Return how a stage is called while the run goes on."""
    return f"{stage.kind} {stage.label}"


def _described(result: Result, ran: bool) -> str:
    if result.state == "ok":
        return f"ok {result.wall_s:.1f} s" if ran else "ok (reused)"
    return f"{result.state.upper()}: {result.reason}"
