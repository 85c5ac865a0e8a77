"""Plans the trials that tune an optimizer: the same ones for every seed that it is then trained with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.analysis.tuning import EXTENSIONS
from bench.matrix.tuning import Tuning, tuning_of
from bench.plan.lookup import CellTechniques
from bench.plan.planner import Planner
from bench.stages.settings import ALONE, TRIAL_ROLE, TrainSettings, TrialSettings
from techniques.optimizers.search import searched, trials_of

SMOKE_TRIALS = 2


def plan_trials(
    planner: Planner, chosen: CellTechniques, settings: TrainSettings, references: Iterable[str]
) -> Mapping[str, str]:
    """Plan the trials of a cell and return their keys by role; none where it is not tuned.

    `settings` are those of its training, and `references` name what does its work. Trials have its budget of
    steps, its target and its backend, and a seed of their own.
    """
    tuning = tuning_of(chosen.cell.tuning)
    if tuning is None:
        return {}
    return planner.once(
        ("trials", tuning, *chosen.cell.tuned),
        lambda: _plan(planner, chosen, tuning, settings, tuple(references)),
    )


def _plan(
    planner: Planner,
    chosen: CellTechniques,
    tuning: Tuning,
    settings: TrainSettings,
    references: tuple[str, ...],
) -> dict[str, str]:
    def add(trial: TrialSettings, label: str) -> str:
        label = f"{chosen.tuned_label} {label}"
        before = dict(parents) if trial.extension else {}
        return planner.add("trial", chosen, trial, before, label, *references)

    shared: dict[str, Any] = {
        **vars(settings),
        # What is best for a batch on one device is so on several: the batch is that of all.
        **{"devices": 1, "parallel": ALONE},
        "seed": tuning.training_seed,
        "stops_at_target": True,
        "searched": searched(chosen.optimizer),
    }
    parents: dict[str, str] = {}
    of_seed = f"trial_seed={tuning.trial_seed} " if tuning.trial_seed else ""
    count = min(tuning.trials, SMOKE_TRIALS) if planner.smoke else tuning.trials
    tried = planner.once(
        ("settings of trials", chosen.optimizer.text, count, tuning.trial_seed),
        lambda: trials_of(chosen.optimizer, count, tuning.trial_seed),
    )
    for number, optimizer in enumerate(tried, 1):
        own = shared | {"optimizer": optimizer, "optimizer_settings": dict(optimizer.settings)}
        trial = TrialSettings(**own, number=number)
        parents[f"{TRIAL_ROLE}{number}"] = add(trial, f"{of_seed}trial {number}")
    for extension in range(1, EXTENSIONS + 1):
        trial = TrialSettings(**shared, number=count + extension, extension=extension)
        parents[f"{TRIAL_ROLE}{count + extension}"] = add(trial, f"{tuning} extension {extension}")
    return parents
