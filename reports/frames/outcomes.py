"""What each training of a run needed to reach its target, read from its curve."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from bench.analysis.statistics import ratio_interval
from bench.analysis.survival import Outcome
from bench.analysis.to_target import crossing, diverged_at, value_at
from bench.analysis.verdicts import CommonError, common_error
from bench.formatting import visible
from reports.frames.swept import are_swept
from reports.frames.training import training_labels
from reports.frames.validity import step_fault
from reports.frames.view import RunView, Training

Measure = Literal["steps", "time", "loss"]

NOT_MEASURED = ("pending", "skipped", "killed")
"""States of a training that say nothing about its optimizer."""


@dataclass(frozen=True)
class Trained:
    """One training: its optimizer's label, its seed, and what it needed.

    `untuned` is that label without the `tuning` that the optimizer had; `key` is of its stage.

    `steps` are interpolated between evaluations, `grid` is the evaluation at which the target first held,
    infinite if it never did. `clocked` are seconds by the clock of training, None where they are unknown;
    `step_s` is the median time of a step. `loss` is that at the workload's common step.
    """

    workload: str
    optimizer: str
    seed: int
    state: str
    steps: Outcome
    grid: float
    clocked: Outcome | None
    step_s: float | None
    key: str
    step_key: str
    curve: tuple[tuple[float, float], ...] = ()
    loss: Outcome | None = None
    untuned: str = ""
    tuning: str = ""

    @property
    def timed(self) -> Outcome | None:
        """Seconds as steps × the median time of a step; None where no step was timed."""
        if self.step_s is None:
            return None
        needed, budget = self.steps.needed * self.step_s, self.steps.budget * self.step_s
        return replace(self.steps, needed=needed, budget=budget)


@dataclass(frozen=True)
class WorkloadOutcomes:
    """The trainings of a workload by optimizer and seed, in the order of the matrix.

    `time` says what seconds are: `steps × step time`, `clock`, or empty where some are unknown. The losses
    are compared at `common_step`, the last that every training which did not diverge came to.
    """

    workload: str
    target: float
    quality_metric: str
    trained: Mapping[str, Mapping[int, Trained]]
    time: str
    common_step: float | None

    def measured(self, optimizer: str, measure: Measure) -> dict[int, Outcome]:
        """Return what an optimizer's seeds needed; empty where the measure is unknown."""
        found = {seed: self._outcome(one, measure) for seed, one in self.trained[optimizer].items()}
        return {seed: outcome for seed, outcome in found.items() if outcome is not None}

    def _outcome(self, one: Trained, measure: Measure) -> Outcome | None:
        if measure == "loss":
            return one.loss
        if measure == "steps":
            return one.steps
        return one.timed if self.time.startswith("steps") else one.clocked if self.time else None


def workload_outcomes(view: RunView, *, every_rate: bool = False) -> list[WorkloadOutcomes]:
    """Return what the trainings of each workload needed; workloads without a target are left out.

    So are rates that were tried beside an optimizer's own, see `reports.frames.swept`, unless `every_rate`.
    A training counts as one that never reached its target unless it is still to come, was skipped, or was
    killed from outside.
    """
    found = []
    trainings = view.trainings()
    for workload in dict.fromkeys(training.axes["workload"] for training in trainings):
        own = [training for training in trainings if training.axes["workload"] == workload]
        if not every_rate:
            swept = are_swept([training.axes for training in own])
            own = [training for training, out in zip(own, swept, strict=True) if not out]
        one = _workload(view, own)
        if one is not None:
            found.append(one)
    return found


def step_ratio(view: RunView, first: Trained, second: Trained) -> CommonError:
    """Return the ratio of two optimizers' step times, with the error that their launches leave."""
    if first.step_key == second.step_key:
        return CommonError()
    launches = [view.launch_values(one.step_key, "step_latency_s") for one in (first, second)]
    if not all(launches):
        steps_s = [one.step_s or math.nan for one in (first, second)]
        return CommonError(math.log(steps_s[0] / steps_s[1]), math.inf)
    return common_error(ratio_interval(*launches))


def _workload(view: RunView, trainings: Sequence[Training]) -> WorkloadOutcomes | None:
    axes = [training.axes for training in trainings]
    labels = zip(training_labels(axes, axes), training_labels(axes, axes, without=("tuning",)), strict=True)
    read = [_trained(view, training, *own) for training, own in zip(trainings, labels, strict=True)]
    known = [one for one in read if one is not None]
    if not known:
        return None
    common = min((one.curve[-1][0] for one in known if one.curve), default=None)
    known = _with_losses(_with_budgets(known), common)
    trained: dict[str, dict[int, Trained]] = {}
    for one in known:
        trained.setdefault(one.optimizer, {})[one.seed] = one
    first = next(training for training, one in zip(trainings, read, strict=True) if one is not None)
    assert first.target is not None  # without one a training is not read
    machines = {view.machine(training.step_key, training.key) for training in trainings}
    return WorkloadOutcomes(
        known[0].workload, first.target, first.quality_metric, trained, _time(known, len(machines)), common
    )


def _time(known: Iterable[Trained], machines: int) -> str:
    """Say what seconds of a workload are; those of several machines are not comparable."""
    trained = list(known)
    if machines > 1:
        return ""
    if all(one.step_s is not None for one in trained):
        return "steps × step time"
    return "clock" if all(one.clocked is not None for one in trained) else ""


def _trained(view: RunView, training: Training, label: str, untuned: str) -> Trained | None:
    """Read a training by its labels; None without a target, or where its state says nothing about it."""
    key, target, status = training.key, training.target, view.status(training.key)
    budget = training.steps or view.value(key, "steps_trained")
    if target is None or not math.isfinite(target) or not budget or status.state in NOT_MEASURED:
        return None
    if status.ok and view.value(key, "target_reached") is None:
        return None  # a model that was given, not trained
    steps, qualities, losses, seconds = _curve(view, key) if status.ok else ([], [], [], [])
    # Training has judged by each step whether a loss was many times its start; means say less.
    held = crossing(qualities, target, losses, start=math.inf)
    recorded = view.value(key, "steps_to_target") if status.ok and not steps else None
    diverged = not status.ok or diverged_at(losses, start=math.inf) is not None
    needed = held.on(steps) if held else recorded or math.inf
    outcome = Outcome(
        *(needed, float(budget), math.isinf(needed) and not diverged),
        at_most=held is not None and held.at_first,
        resolution=held.resolution(steps) if held else 0.0,
    )
    return Trained(
        workload=visible(str(training.axes["workload"])),
        optimizer=visible(label),
        seed=int(training.axes["seed"] or 0),
        state="diverged" if status.ok and diverged and not outcome.reached else status.state,
        steps=outcome,
        grid=steps[held.position] if held else needed,
        clocked=_clocked(view, key, outcome, held.on(seconds) if held and seconds else None),
        step_s=_step_s(view, training.step_key),
        key=key,
        step_key=training.step_key,
        curve=tuple(zip(steps, losses, strict=True)),
        untuned=visible(untuned),
        tuning=visible(str(training.axes["tuning"])),
    )


def _curve(view: RunView, key: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return steps, qualities, losses and seconds of a training's evaluations; empty where they are no curve.

    Seconds alone are empty where only they are unknown, as in a training that was reused.
    """
    metrics = ("curve_step", "curve_quality", "curve_loss", "curve_seconds")
    steps, qualities, losses, seconds = (view.curve(key, metric) for metric in metrics)
    if not _ascends(steps) or not len(steps) == len(qualities) == len(losses):
        return [], [], [], []
    return steps, qualities, losses, seconds if len(seconds) == len(steps) and _ascends(seconds) else []


def _ascends(clock: Sequence[float]) -> bool:
    """Say whether numbers are positive, finite and ever larger: a store may hold any."""
    return all(0 < at < later for at, later in pairwise([*clock, math.inf]))


def _step_s(view: RunView, key: str) -> float | None:
    if not key or step_fault(view, key):
        return None
    return view.value(key, "step_latency_s")


def _clocked(view: RunView, key: str, steps: Outcome, needed_s: float | None) -> Outcome | None:
    """Return seconds by the clock; the budget's are those per step that this training took."""
    spent_s, trained = view.value(key, "training_s"), view.value(key, "steps_trained")
    budget_s = steps.budget * spent_s / trained if spent_s and trained else math.inf
    if steps.reached:
        return None if needed_s is None else replace(steps, needed=needed_s, budget=max(budget_s, needed_s))
    return Outcome(math.inf, budget_s, steps.censored)


def _with_budgets(trained: Sequence[Trained]) -> list[Trained]:
    """Give trainings that left no clock, as those that diverged, the budget in seconds of others.

    Of their optimizer's, and where these have none either, of the workload's.
    """

    def usual(rows: Iterable[Trained]) -> float | None:
        known = [one.clocked.budget for one in rows if one.clocked and math.isfinite(one.clocked.budget)]
        return statistics.median(known) if known else None

    everyone = usual(trained)
    found = []
    for one in trained:
        if one.clocked and math.isinf(one.clocked.budget):
            own = usual(other for other in trained if other.optimizer == one.optimizer) or everyone
            one = replace(one, clocked=None if own is None else replace(one.clocked, budget=own))
        found.append(one)
    return found


def _with_losses(trained: Sequence[Trained], common: float | None) -> list[Trained]:
    """Note each training's loss at the common step; one that diverged has none, and at most the first seen.

    Losses that are not all positive have no ratio: then none is noted.
    """
    starts = [one.curve[0][1] for one in trained if one.curve]
    if common is None or not all(math.isfinite(start) and start > 0 for start in starts):
        return list(trained)
    losses = [_loss_at(one, common) for one in trained]
    if any(loss is not None and loss <= 0 for loss in losses):
        return list(trained)
    worst = max(starts)
    return [
        replace(one, loss=Outcome(math.inf if loss is None else loss, worst))
        for one, loss in zip(trained, losses, strict=True)
    ]


def _loss_at(one: Trained, step: float) -> float | None:
    return value_at([at for at, _ in one.curve], [loss for _, loss in one.curve], step)
