"""Made-up trainings whose quality rises in a straight line: a target is met exactly where they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.records import Measurement, Result
from bench.results.store import Store
from tests.support.synthetic_run import ENVIRONMENT, Synthetic, build

TARGET, BUDGET, PERIOD = 0.9, 1200, 60
DIVERGED = Result("diverged", "the training loss is nan at step 7")


def trained(needed: float, *, loss: float = 1.0, step_s: float = 0.01, stops: bool = True) -> Result:
    """Return a training that meets its target after `needed` steps; above the budget it is censored.

    Unless it `stops` there, it goes on.
    """
    steps, qualities = [], []
    for step in range(PERIOD, BUDGET + 1, PERIOD):
        steps.append(float(step))
        qualities.append(min(1.0, TARGET * step / needed))
        if stops and len(qualities) > 1 and qualities[-2] >= TARGET:
            break
    held = next((step for step, quality in zip(steps, qualities, strict=True) if quality >= TARGET), None)
    measured = [
        Measurement("target_reached", float(held is not None)),
        Measurement("steps_to_target", held),
        Measurement("steps_trained", steps[-1]),
        Measurement("training_s", step_s * steps[-1]),
        *(
            Measurement(metric, values[-1], samples=tuple(values))
            for metric, values in (
                ("curve_step", steps),
                ("curve_seconds", [step_s * step for step in steps]),
                ("curve_loss", [loss * 100 / step for step in steps]),
                ("curve_quality", qualities),
            )
        ),
    ]
    return Result("ok", wall_s=1.5, body_s=1.0, measurements=tuple(measured), environment=ENVIRONMENT)


def build_trainings(
    folder: Path, needed: Mapping[str, Sequence[float | Result]], made_up: Mapping[str, Any] | None = None
) -> Store:
    """Enter a run `run-1` with these trainings, by workload/optimizer, an entry for each seed."""
    results = {
        f"train {name}/{seed}": entry if isinstance(entry, Result) else trained(entry)
        for name, entries in needed.items()
        for seed, entry in enumerate(entries)
    }
    traits: dict[str, Any] = {
        "workloads": tuple(dict.fromkeys(name.partition("/")[0] for name in needed)),
        "optimizers": tuple(dict.fromkeys(name.partition("/")[2] for name in needed)),
        "seeds": tuple(range(max(map(len, needed.values())))),
        "compressions": ("none",),
        "backends": ("cpu-eager",),
        **(made_up or {}),
    }
    traits["results"] = {**results, **traits.get("results", {})}
    return build(folder, Synthetic(**traits))
