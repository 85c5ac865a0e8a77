"""Made-up histories: runs of one cell in one store, each with launches of a value that a test gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store
from tests.support.synthetic_run import ENVIRONMENT, key_of

CELL = "digits/adam/none@cpu-eager"
SPREAD = (0.995, 1.0, 1.005)


def revision(number: int) -> str:
    return key_of(f"revision {number}")[:40]


def enter(
    store: Store,
    number: int,
    value: float,
    *,
    metric: str = "latency_s",
    environment: Mapping[str, Any] = ENVIRONMENT,
    smoke: bool = False,
) -> None:
    """Enter run `run-<number>` of a revision of its own, with three launches around a value."""
    stages = [
        StageRow(key_of(f"{kind} {number}"), kind, f"digits/{kind}", kind == "infer", (), PlannedRequest())
        for kind in ("evaluate", "infer")
    ]
    axes = {
        **{"workload": "digits", "optimizer": "adam", "train.backend": "cpu-eager"},
        **{"train.precision": "fp32", "train.batch_size": 128, "seed": 0},
        **{"compression": "none", "backend": "cpu-eager", "precision": "fp32", "batch_size": 1},
    }
    cell = CellRow(CELL, axes, {stage.kind: stage.key for stage in stages})
    run_id = f"run-{number:03d}"
    request = {"smoke": smoke, "notes": [], "metrics": [], "peaks": {}}
    store.start_run(run_id, f"identity {number}", "quick", "bench run -m quick", request, stages, [cell])
    git = {"revision": revision(number), "changed": False}
    for stage in stages:
        for round_, factor in enumerate(SPREAD if stage.timed else (1.0,)):
            own = metric if stage.timed else "accuracy"
            measured = (
                Measurement(own, value * factor if stage.timed else 0.9),
                Measurement("peak_rss_bytes", 1e8),
            )
            result = Result("ok", measurements=measured, environment={**environment, "git": git})
            store.add_launch(run_id, stage, round_, result)
    store.finish_run(run_id)


def build_history(folder: Path, values: Sequence[float], **traits: Any) -> None:
    """Enter a run for each value, oldest first."""
    store = Store.open(folder)
    for number, value in enumerate(values):
        enter(store, number, value, **traits)
    store.close()
