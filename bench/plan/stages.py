"""Plans a stage of each kind for a cell: settings, parents and label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.analysis.roofline import CEILING_DEVICES
from bench.plan.planner import Planner
from bench.plan.points import Point
from bench.stages.settings import (
    CeilingsSettings,
    CompressSettings,
    GenerateSettings,
    InferSettings,
    LoweredSettings,
    ServeSettings,
    StepSettings,
    TrainSettings,
    WorkloadSettings,
)
from techniques.registry import Technique

SMOKE_STEPS = 2
SMOKE_TEST_SAMPLES = 64
SMOKE_SERVE_S = 0.2

GENERATING_BACKENDS = ("cpu-eager", "cuda-eager")
"""Backends that run the model's own code, with the key-value cache that generation needs."""

CEILING_S, SMOKE_CEILING_S = 0.1, 0.002
"""Seconds per ceiling; in a smoke run the second one."""

Keys = Mapping[str, str]
"""The keys of a cell's stages planned so far, by kind."""


def train(planner: Planner, point: Point, keys: Keys) -> str:
    row = point.workload.row
    settings = TrainSettings(
        **_training(planner, point),
        seed=point.cell.seed,
        steps=SMOKE_STEPS if planner.smoke else planner.budget.train_steps or row.train_steps,
        target=row.target,
        evaluations_per_epoch=row.evaluations_per_epoch,
    )
    return planner.add("train", point, settings, {}, point.training_label, point.optimizer.row.implementation)


def step(planner: Planner, point: Point, keys: Keys) -> str | None:
    if point.workload.row.inference_only:
        return None
    settings = StepSettings(**_training(planner, point), **_sampling(planner))
    label = f"{point.training_label} step"
    return planner.add("step", point, settings, {}, label, point.optimizer.row.implementation)


def compress(planner: Planner, point: Point, keys: Keys) -> str | None:
    """Plan the steps of a recipe, each based on the previous one; return the last."""
    model = keys["train"]
    for part in point.recipe.steps:
        model = _compress_step(planner, point, part, model)
    return model if point.recipe.steps else None


def _compress_step(planner: Planner, point: Point, part: Technique[Any], model: str) -> str:
    row, budget = point.workload.row, planner.budget
    settings = CompressSettings(
        **_training(planner, point),
        seed=point.cell.seed,
        technique=part,
        technique_settings=dict(part.settings),
        recover_steps=SMOKE_STEPS if planner.smoke else budget.recover_steps or row.recover_steps,
        student_steps=SMOKE_STEPS if planner.smoke else budget.student_steps or row.student_steps,
    )
    label = planner.stages[model].label
    parents = {"model": model}
    if part.row.taught:
        # A teacher's outputs are made once, for all students that it has.
        own = WorkloadSettings(**_workload(planner, point))
        parents["teacher"] = planner.add("teach", point, own, {"model": model}, f"{label} as a teacher")
    references = (part.row.implementation, point.optimizer.row.implementation)
    return planner.add("compress", point, settings, parents, f"{label} + {part.text}", *references)


def lower(planner: Planner, point: Point, keys: Keys) -> str:
    model = _model(keys)
    settings = LoweredSettings(**_lowered(planner, point))
    return planner.add("lower", point, settings, {"model": model}, _lowered_label(planner, point, model))


def evaluate(planner: Planner, point: Point, keys: Keys) -> str:
    model = _model(keys)
    parents = {"lowered": keys["lower"], "model": model, "reference": keys["train"]}
    settings = LoweredSettings(**_lowered(planner, point))
    return planner.add("evaluate", point, settings, parents, _lowered_label(planner, point, model))


def infer(planner: Planner, point: Point, keys: Keys) -> str:
    """Plan one timing for all artifacts of one structure: dense kernels take as long for any weights."""
    settings = InferSettings(**_lowered(planner, point), **_sampling(planner), structure=point.structure)
    return _of_structure(planner, "infer", point, settings, keys, _structure_label(planner, point))


def serve(planner: Planner, point: Point, keys: Keys) -> str | None:
    """Plan the server scenario of a structure, once, as its timing; only where the matrix asks for it."""
    if planner.server is None:
        return None
    settings = ServeSettings(
        **_lowered(planner, point),
        structure=point.structure,
        p99_s=planner.server.p99_ms / 1e3,
        seconds=SMOKE_SERVE_S if planner.smoke else planner.server.seconds,
    )
    label = f"{_structure_label(planner, point)} server"
    return _of_structure(planner, "serve", point, settings, keys, label)


def generate(planner: Planner, point: Point, keys: Keys) -> str | None:
    """Plan the generation of a structure, once, where the model's own code continues texts."""
    cell = point.cell
    own_code = point.format is None and point.backend.name in GENERATING_BACKENDS
    if not (point.workload.row.generates and own_code):
        return None
    settings = GenerateSettings(**_served(planner, point), structure=point.structure)
    label = f"{cell.workload} {point.structure or 'dense'} generation @ {cell.backend} {cell.precision}"
    return _of_structure(planner, "generate", point, settings, keys, label)


def ceilings(planner: Planner, point: Point, keys: Keys) -> None:
    """Plan what a device can do at most, once: no cell's own, all cells' records are held against it."""
    settings = CeilingsSettings(seconds=SMOKE_CEILING_S if planner.smoke else CEILING_S)
    for backend in (point.train_backend.row, point.backend.row):
        if backend.device in CEILING_DEVICES:
            planner.add_of_device("ceilings", backend, settings, f"ceilings of {backend.device}")


def _of_structure(planner: Planner, kind: str, point: Point, settings: object, keys: Keys, label: str) -> str:
    parents = {"lowered": keys["lower"]}
    return planner.add(kind, point, settings, parents, label, own_parents=False)


def _model(keys: Keys) -> str:
    return keys.get("compress") or keys["train"]


def _workload(planner: Planner, point: Point) -> dict[str, Any]:
    return {
        "workload": point.cell.workload,
        "quality_metric": point.workload.row.quality_metric,
        "test_samples": SMOKE_TEST_SAMPLES if planner.smoke else None,
    }


def _training(planner: Planner, point: Point) -> dict[str, Any]:
    cell = point.cell
    return {
        **_workload(planner, point),
        "optimizer": point.optimizer,
        "optimizer_settings": dict(point.optimizer.settings),
        "backend": point.train_backend,
        "precision": cell.train_precision,
        "batch_size": cell.train_batch_size,
    }


def _served(planner: Planner, point: Point) -> dict[str, Any]:
    return {
        **_workload(planner, point),
        "format": point.recipe.format,
        "backend": point.backend,
        "precision": point.cell.precision,
    }


def _lowered(planner: Planner, point: Point) -> dict[str, Any]:
    return {**_served(planner, point), "batch_size": point.cell.batch_size}


def _sampling(planner: Planner) -> dict[str, Any]:
    return {"sample_s": planner.budget.sample_s, "flush_cache": planner.budget.flush_cache}


def _place(planner: Planner, point: Point) -> str:
    cell = point.cell
    precision = f" {cell.precision}" if "precision" in planner.varying else ""
    return f"{cell.backend} b{cell.batch_size}{precision}"


def _structure_label(planner: Planner, point: Point) -> str:
    parts = "+".join(filter(None, [point.structure, point.format or ""]))
    return f"{point.cell.workload} {parts or 'dense'} @ {_place(planner, point)}"


def _lowered_label(planner: Planner, point: Point, model: str) -> str:
    format_ = f" + {point.format}" if point.format else ""
    return f"{planner.stages[model].label}{format_} @ {_place(planner, point)}"
