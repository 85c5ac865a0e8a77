"""Try settings of an optimizer: a training of its own, which ends early where it leads nowhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.analysis.tuning import Ended, Trial, best_of, beyond, edge, pruned
from bench.errors import Diverged, StageError
from bench.identity.loaded import load_and_note
from bench.models.training import Goal, Trainer, TrainingRecord
from bench.models.trials import read_trials, save_trial
from bench.records import Measurement, Request
from bench.stages.inputs import make_trainer, trial_folders
from bench.stages.settings import TrialSettings
from bench.stages.train import curves, goal_of, spent, to_target
from techniques.optimizers.search import RATE, with_settings
from techniques.registry import CannotApply

_LOST = (Diverged, StageError, ArithmeticError, ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What settings of an optimizer may lead to; the memory that a trial takes does not depend on them."""


def run(request: Request[TrialSettings], folder: Path) -> list[Measurement]:
    """Write what the trial found; measure its training, as far as it went."""
    settings = request.settings
    tried = {name: float(settings.optimizer.settings[name]) for name in settings.searched}
    if settings.extension:
        before = [trial for trial in read_trials(trial_folders(request)) if trial.made]
        tried, why_not = _beyond(settings, before)
        if why_not:
            save_trial(folder, Trial(settings.number, ended="not needed", reason=why_not))
            return [*spent(TrainingRecord()), Measurement("trial_made", 0, method=why_not)]
        settings = replace(settings, optimizer=with_settings(settings.optimizer, tried))
    attempt = _attempt(settings, bounded=not request.smoke)
    trial = attempt.trial(settings, tried)
    save_trial(folder, trial)
    return [
        Measurement("trial_made", 1, method=settings.optimizer.text),
        *_measured(settings, attempt, trial),
    ]


@dataclass(frozen=True)
class _Attempt:
    """A training of a trial, as far as it went, and how it ended."""

    record: TrainingRecord
    goal: Goal
    ended: Ended
    reason: str

    @property
    def qualities(self) -> list[float]:
        return [point.quality[self.goal.metric] for point in self.record.evaluations]

    def trial(self, settings: TrialSettings, tried: dict[str, float]) -> Trial:
        points, held = self.record.evaluations, self.record.crossing(self.goal)
        return Trial(
            settings.number,
            tried,
            self.ended,
            self.reason,
            held.on([point.step for point in points]) if held else None,
            max(self.qualities, default=None),
        )


def _attempt(settings: TrialSettings, *, bounded: bool) -> _Attempt:
    workload, data, model = load_and_note(settings.workload, settings.seed, settings.test_samples)
    goal = goal_of(settings, data, bounded=bounded)
    record = TrainingRecord()
    trainer = make_trainer(settings, workload, data, model, settings.regime(settings.steps))
    untrained = _untrained(trainer, record, goal.metric)

    def gives_up(record: TrainingRecord) -> str:
        qualities = [point.quality[goal.metric] for point in record.evaluations]
        return pruned(qualities, untrained, goal.target, record.steps, settings.steps)

    try:
        trainer.train(settings.steps, settings.seed, goal, record=record, gives_up=gives_up)
    except CannotApply:
        raise
    except _LOST as error:
        ended: Ended = "diverged" if isinstance(error, Diverged) else "failed"
        reason = str(error) or type(error).__name__
        return _Attempt(record, goal, ended, reason.splitlines()[0])
    if record.sustained(goal):
        return _Attempt(record, goal, "reached", "")
    reason = gives_up(record)
    return _Attempt(record, goal, "pruned" if reason else "budget", reason)


def _untrained(trainer: Trainer, record: TrainingRecord, metric: str) -> float:
    """Return the quality of the model before its first step; that evaluation counts as any other."""
    started = time.perf_counter()
    _, quality = trainer.evaluate()
    record.evaluation_s += time.perf_counter() - started
    return quality[metric]


def _beyond(settings: TrialSettings, before: list[Trial]) -> tuple[dict[str, float], str]:
    """Return the settings of a trial beyond the edge, or say why none is needed."""
    best = best_of(before)
    if best is None:
        return {}, "no trial came to an evaluation"
    side = edge(best, before, RATE)
    if side is None:
        return {}, f"trial {best.number}, the best, has a rate between others"
    tried = beyond(best, side, RATE)
    try:
        with_settings(settings.optimizer, tried)
    except ValueError as error:
        return {}, f"no rate beyond the edge: {error}"
    return tried, ""


def _measured(settings: TrialSettings, attempt: _Attempt, trial: Trial) -> Iterator[Measurement]:
    record, goal = attempt.record, attempt.goal
    yield from to_target(record, goal)
    yield from spent(record)
    yield Measurement("evaluation_period", goal.period)
    if record.evaluations:
        yield from curves(record, goal.metric, settings.regime(settings.steps))
    is_pruned = attempt.ended == "pruned"
    yield Measurement("trial_pruned", float(is_pruned), method=attempt.reason if is_pruned else "")
    if trial.quality is not None:
        yield Measurement("trial_quality", trial.quality, n=len(record.evaluations))
    how = f"{attempt.ended}: {attempt.reason}" if trial.lost else ""
    yield Measurement("trial_lost", float(trial.lost), method=how)
    for name, value in trial.settings.items():
        yield Measurement("trial_setting", value, qualifier=name)
