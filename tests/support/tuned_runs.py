"""A made-up run of optimizers that were tuned by trials: what each trial took, what each training needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store
from tests.support.synthetic_run import ENVIRONMENT, key_of
from tests.support.trainings import BUDGET, TARGET, trained

STEP_S = 0.01
STEP_J = 0.5


@dataclass(frozen=True)
class MadeUpTrial:
    """A trial: its rate, the steps that it took, how it ended; it took `seconds`, None if it was reused."""

    rate: float
    steps: int = 100
    seconds: float | None = 2.0
    lost: bool = False
    pruned: bool = False
    made: bool = True

    def result(self) -> Result:
        if not self.made:
            measured = [Measurement("trial_made", 0, method="trial 1, the best, has a rate between others")]
        else:
            measured = [
                Measurement("trial_made", 1),
                Measurement("trial_setting", self.rate, qualifier="lr"),
                Measurement("trial_quality", 0.9),
                Measurement("trial_pruned", float(self.pruned), method="too short a way" * self.pruned),
                Measurement("trial_lost", float(self.lost), method="diverged: loss is nan" * self.lost),
                Measurement("target_reached", float(not (self.lost or self.pruned))),
            ]
        steps = self.steps if self.made else 0
        seconds = self.seconds if self.made else 0.0
        measured += [
            Measurement("steps_trained", steps),
            Measurement("training_s", seconds),
            Measurement("evaluation_s", None if seconds is None else seconds / 4),
        ]
        return Result("ok", wall_s=1.0, measurements=tuple(measured), environment=ENVIRONMENT)


@dataclass(frozen=True)
class MadeUpTuning:
    """A tuning of an optimizer: how many of its trials it goes by, which was best, what its seeds needed."""

    needed: Sequence[float]
    trials: int = 0
    best: int = 1
    at_edge: bool = False


def build_tuned(
    folder: Path,
    tunings: Mapping[str, Mapping[str, MadeUpTuning]],
    trials: Mapping[str, Sequence[MadeUpTrial]],
    *,
    steps_timed: bool = True,
    request: Mapping[str, Any] | None = None,
) -> Store:
    """Enter a run `run-1` on digits: tunings by optimizer and name, and the trials of each optimizer."""
    stages: dict[str, StageRow] = {}
    results: dict[str, Result] = {}
    cells = []

    def enter(label: str, result: Result, parents: Sequence[str] = (), **settings: Any) -> str:
        kind, key = label.split()[0], key_of(label)
        stages[key] = StageRow(key, kind, label, kind == "step", tuple(parents), PlannedRequest(settings))
        results[key] = result
        return key

    for optimizer, entries in trials.items():
        for number, made_up in enumerate(entries, 1):
            enter(f"trial {optimizer} {number}", made_up.result(), number=number, extension=0)
    for optimizer, named in tunings.items():
        step = enter(f"step digits/{optimizer}", _step()) if steps_timed else ""
        for tuning, made_up in named.items():
            parents = [key_of(f"trial {optimizer} {number}") for number in range(1, made_up.trials + 1)]
            for seed, needed in enumerate(made_up.needed):
                train = enter(
                    f"train digits/{optimizer}/{tuning}/{seed}",
                    _training(needed, made_up, trials.get(optimizer, ())),
                    parents,
                    **{"target": TARGET, "quality_metric": "accuracy", "steps": BUDGET},
                )
                keys = {"train": train, **({"step": step} if step else {})}
                cells.append(CellRow(f"{optimizer}/{tuning}/{seed}", _axes(optimizer, tuning, seed), keys))
    store = Store.open(folder)
    rows = list(stages.values())
    store.start_run("run-1", "identity", "m", "bench run --matrix m", dict(request or {}), rows, cells)
    for key, stage in stages.items():
        for launch in range(3 if stage.timed else 1):
            store.add_launch("run-1", stage, launch, results[key])
    store.finish_run("run-1")
    return store


def _axes(optimizer: str, tuning: str, seed: int) -> dict[str, Any]:
    return {
        **{"workload": "digits", "optimizer": optimizer, "schedule": "constant", "clip": "none"},
        **{"average": "none", "train.backend": "cpu-eager", "train.precision": "fp32"},
        **{"train.batch_size": 32, "tuning": tuning, "seed": seed, "compression": "none"},
        **{"backend": "cpu-eager", "precision": "fp32", "batch_size": 1},
    }


def _training(needed: float, made_up: MadeUpTuning, trials: Sequence[MadeUpTrial]) -> Result:
    result = trained(needed, step_s=STEP_S)
    held = next(entry.value for entry in result.measurements if entry.metric == "steps_to_target")
    clock = Measurement("time_to_target_s", None if held is None else held * STEP_S)
    result = replace(result, measurements=(*result.measurements, clock))
    if not made_up.trials:
        return result
    own = trials[: made_up.trials]
    method = "no trial had a higher rate" if made_up.at_edge else ""
    choice = (
        Measurement("tuned_setting", own[made_up.best - 1].rate, qualifier="lr"),
        Measurement("tuned_trial", made_up.best),
        Measurement("tuning_trials", sum(trial.made for trial in own)),
        Measurement("tuning_trials_reached", sum(not (trial.lost or trial.pruned) for trial in own)),
        Measurement("rate_at_edge", float(made_up.at_edge), method=method),
    )
    return replace(result, measurements=(*result.measurements, *choice))


def _step() -> Result:
    measured = (Measurement("step_latency_s", STEP_S, n=100), Measurement("energy_j", STEP_J))
    return Result("ok", wall_s=1.0, measurements=measured, environment=ENVIRONMENT)
