"""Requests of stages as a runner makes them, for what a test says nothing of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.records import Request
from bench.stages import settings_of

_PLAIN: Request[Any] = Request(
    kind="",
    key="a" * 64,
    label="",
    settings={},
    parents={},
    plugins={},
    imports=(),
    results="",
    run_id="run",
    round=0,
    device="cpu",
    threads=1,
    cpus=(0,),
    memory_bytes=2**33,
    timeout_s=60,
)


_SETTINGS = {
    **{"workload": "digits", "quality_metric": "accuracy", "test_samples": None},
    **{"optimizer": "adam", "backend": "cpu-eager", "precision": "fp32", "batch_size": 8},
    **{"seed": 0, "steps": 2, "target": 1.0, "evaluations_per_epoch": 1, "sample_s": 0.0},
    **{"technique": "none", "recover_steps": 2, "student_steps": 2, "p99_s": 1.0, "seconds": 0.1},
}


def settings_for(kind: str, **settings: Any) -> Any:
    """Return the settings of a stage of this kind, as its worker has them."""
    return settings_of(kind, _SETTINGS | {"seed": None if kind == "step" else 0} | settings)


def request_of(kind: str, results: Path, settings: dict[str, Any], **fields: Any) -> Request[Any]:
    """Return the request of a stage of this kind, on one core of the CPU, as its worker has it."""
    typed = settings_for(kind, **settings)
    return replace(_PLAIN, kind=kind, label=kind, results=str(results), settings=typed, **fields)
