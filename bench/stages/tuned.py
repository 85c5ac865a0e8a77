"""The settings that trials chose: for the training that they tune, and for what is made from its model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from bench.analysis.tuning import Trial, best_of, edge
from bench.errors import Diverged, StageError
from bench.formatting import counted
from bench.models.trials import read_chosen, read_trials, save_chosen
from bench.records import Measurement, Request
from bench.stages.inputs import trial_folders
from bench.stages.settings import Optimizer, TrainingSettings, TrainSettings
from techniques.optimizers import OPTIMIZERS
from techniques.optimizers.search import RATE, with_settings

SettingsT = TypeVar("SettingsT", bound=TrainingSettings)


def tuned(request: Request[TrainSettings], folder: Path) -> tuple[TrainSettings, list[Measurement]]:
    """Return the settings of a training as its trials chose them, and what they say of the choice.

    Without trials they are those of the request. Raises Diverged where every trial did, and StageError where
    none came to an evaluation otherwise.
    """
    settings = request.settings
    folders = trial_folders(request)
    if not folders:
        return settings, []
    trials = [trial for trial in read_trials(folders) if trial.made]
    best = best_of(trials)
    if best is None:
        raise _lost(trials)
    chosen = with_settings(settings.optimizer, best.settings)
    save_chosen(folder, chosen.text)
    return _with(settings, chosen), list(_choice(best, trials))


def as_tuned(settings: SettingsT, parent: Path, folder: Path) -> SettingsT:
    """Return settings with the optimizer that the parent's model was tuned to, if it was; note it again."""
    text = read_chosen(parent)
    if text is None:
        return settings
    save_chosen(folder, text)
    return _with(settings, OPTIMIZERS.parse(text))


def _with(settings: SettingsT, optimizer: Optimizer) -> SettingsT:
    return replace(settings, optimizer=optimizer, optimizer_settings=dict(optimizer.settings))


def _lost(trials: Sequence[Trial]) -> Exception:
    how = f"all {counted(len(trials), 'trial')} diverged or failed"
    first = next((trial.reason for trial in trials), "")
    diverged = all(trial.ended == "diverged" for trial in trials)
    return (Diverged if diverged else StageError)(f"{how}; the first: {first}")


def _choice(best: Trial, trials: Sequence[Trial]) -> Iterator[Measurement]:
    reached = sum(trial.ended == "reached" for trial in trials)
    method = f"trial {best.number} of {len(trials)}"
    for name, value in best.settings.items():
        yield Measurement("tuned_setting", value, qualifier=name, method=method)
    yield Measurement("tuned_trial", best.number, method=method)
    yield Measurement("tuning_trials", len(trials), method="extensions beyond the edge included")
    yield Measurement("tuning_trials_reached", reached, n=len(trials))
    side = edge(best, trials, RATE)
    how = {"low": "no trial had a lower rate", "high": "no trial had a higher rate"}
    yield Measurement("rate_at_edge", float(side is not None), method=how[side] if side else "")
