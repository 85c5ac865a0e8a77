"""Plans a stage of each kind for a cell: settings, parents and label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bench.analysis.roofline import CEILING_DEVICES
from bench.analysis.tuning import FIXED
from bench.plan.lookup import CellTechniques
from bench.plan.planner import Planner
from bench.plan.trials import plan_trials
from bench.stages.settings import (
    DRAFT_ROLE,
    AttributionSettings,
    CeilingsSettings,
    CompressSettings,
    GenerateSettings,
    InferSettings,
    LoweredSettings,
    RequestsSettings,
    RobustnessSettings,
    ServeSettings,
    SingleSettings,
    StepSettings,
    TrainSettings,
    WorkloadSettings,
)
from techniques.backends import BackendRow
from techniques.regime import CONSTANT, NONE
from techniques.registry import Technique

SMOKE_STEPS = 2
SMOKE_TEST_SAMPLES = 64
SMOKE_SERVE_S = 0.2

UNCOMPRESSED = "none"

CEILING_S, SMOKE_CEILING_S = 0.1, 0.002
"""Seconds per ceiling; in a smoke run the second one."""

Keys = Mapping[str, str]
"""The keys of a cell's stages planned so far, by kind."""


def train(planner: Planner, chosen: CellTechniques, keys: Keys) -> str:
    return planner.once(("train", *chosen.cell.training), lambda: _train(planner, chosen))


def _train(planner: Planner, chosen: CellTechniques) -> str:
    row, workload = chosen.workload.row, chosen.cell.workload
    settings = TrainSettings(
        **_training(planner, chosen),
        **_devices(chosen),
        seed=chosen.cell.seed,
        steps=SMOKE_STEPS if planner.smoke else planner.budget.train_steps or row.train_steps,
        target=planner.targets.get(workload, row.target),
        evaluations_per_epoch=planner.evaluations_per_epoch.get(workload, row.evaluations_per_epoch),
        stops_at_target=planner.budget.stop_at_target,
    )
    trials = plan_trials(planner, chosen, settings, _updates(chosen))
    references = (*_updates(chosen), *_spreading(chosen))
    return planner.add("train", chosen, settings, trials, chosen.training_label, *references)


def step(planner: Planner, chosen: CellTechniques, keys: Keys) -> str | None:
    if chosen.workload.row.inference_only:
        return None
    return planner.once(("step", *chosen.cell.training), lambda: _step(planner, chosen.at_own_rate))


def _step(planner: Planner, chosen: CellTechniques) -> str:
    settings = StepSettings(**_training(planner, chosen), **_devices(chosen), **_sampling(planner))
    # What trials try changes nothing of a step's time: it is that of the optimizer as it is written.
    label = f"{chosen.tuned_label}{chosen.devices_label}{chosen.seed_label} step"
    return planner.add("step", chosen, settings, {}, label, *_updates(chosen), *_spreading(chosen))


def single(planner: Planner, chosen: CellTechniques, keys: Keys) -> str | None:
    """Plan the step on one device that several are held against, once for all ways and seeds."""
    if chosen.cell.devices == 1:
        return None
    return planner.once(("single", *chosen.cell.tuned), lambda: _single(planner, chosen.at_own_rate))


def _single(planner: Planner, chosen: CellTechniques) -> str:
    devices = chosen.cell.devices
    settings = SingleSettings(**_training(planner, chosen), **_sampling(planner), of_devices=devices)
    label = f"{chosen.tuned_label} step on one of {devices} devices"
    return planner.add("single", chosen, settings, {}, label, *_updates(chosen))


def compress(planner: Planner, chosen: CellTechniques, keys: Keys) -> str | None:
    """Plan the steps of a recipe, each based on the previous one; return the last."""
    model = keys["train"]
    for part in chosen.recipe.steps:
        what = ("compress", model, part.text, *chosen.cell.training)
        model = planner.once(what, partial(_compress_step, planner, chosen, part, model))
    return model if chosen.recipe.steps else None


def _compress_step(planner: Planner, chosen: CellTechniques, part: Technique[Any], model: str) -> str:
    row, budget = chosen.workload.row, planner.budget
    settings = CompressSettings(
        **_training(planner, chosen),
        seed=chosen.cell.seed,
        technique=part,
        technique_settings=dict(part.settings),
        recover_steps=SMOKE_STEPS if planner.smoke else budget.recover_steps or row.recover_steps,
        student_steps=SMOKE_STEPS if planner.smoke else budget.student_steps or row.student_steps,
    )
    label = planner.stages[model].label
    parents = {"model": model}
    if part.row.taught:
        # A teacher's outputs are made once, for all students that it has.
        own = WorkloadSettings(**_workload(planner, chosen))
        parents["teacher"] = planner.add("teach", chosen, own, {"model": model}, f"{label} as a teacher")
    references = (part.row.implementation, *_updates(chosen))
    return planner.add("compress", chosen, settings, parents, f"{label} + {part.text}", *references)


def lower(planner: Planner, chosen: CellTechniques, keys: Keys) -> str:
    model = _model(keys)
    parents = planner.once(("parents of what is lowered", model), lambda: {"model": model})
    label = _lowered_label(planner, chosen, model)
    return planner.add("lower", chosen, _lowered_settings(planner, chosen), parents, label)


def evaluate(planner: Planner, chosen: CellTechniques, keys: Keys) -> str:
    parents = {"lowered": keys["lower"], "model": _model(keys), "reference": keys["train"]}
    label = planner.stages[keys["lower"]].label
    return planner.add("evaluate", chosen, _evaluated_settings(planner, chosen), parents, label)


def robustness(planner: Planner, chosen: CellTechniques, keys: Keys) -> str | None:
    """Plan the quality on corrupted test items, where the matrix asks for it."""
    if not planner.evaluate.corruptions or chosen.workload.row.inference_only:
        return None
    cell = chosen.cell
    settings = planner.once(
        ("robustness", cell.workload, chosen.format, cell.backend, cell.precision, cell.batch_size),
        lambda: RobustnessSettings(**_lowered(planner, chosen), items=planner.evaluate.corrupted_items),
    )
    parents = {"lowered": keys["lower"], "model": _model(keys)}
    label = f"{planner.stages[keys['lower']].label} corrupted"
    return planner.add("robustness", chosen, settings, parents, label)


def attribution(planner: Planner, chosen: CellTechniques, keys: Keys) -> str | None:
    """Plan how a compressed model's attributions rank inputs, once for all formats and backends of it."""
    if not planner.evaluate.attributions or "compress" not in keys:
        return None
    model = keys["compress"]
    what = ("attribution", model, *chosen.cell.training)
    return planner.once(what, lambda: _attribution(planner, chosen, model, keys["train"]))


def _attribution(planner: Planner, chosen: CellTechniques, model: str, reference: str) -> str:
    settings = AttributionSettings(
        **_workload(planner, chosen),
        items=planner.evaluate.attributed_items,
        flipped_items=planner.evaluate.flipped_items,
    )
    parents = {"model": model, "reference": reference}
    label = f"{planner.stages[model].label} attributions"
    return planner.add("attribution", chosen, settings, parents, label)


def infer(planner: Planner, chosen: CellTechniques, keys: Keys) -> str:
    """Plan one timing for all artifacts of one structure: dense kernels take as long for any weights."""

    def make() -> str:
        settings = InferSettings(
            **_lowered(planner, chosen), **_sampling(planner), structure=chosen.structure
        )
        return _of_structure(planner, "infer", chosen, settings, keys, _structure_label(planner, chosen))

    return planner.once(("infer", *_structured(chosen)), make)


def serve(planner: Planner, chosen: CellTechniques, keys: Keys) -> str | None:
    """Plan the server scenario of a structure, once, as its timing; only where the matrix asks for it."""
    server = planner.server
    if server is None:
        return None

    def make() -> str:
        settings = ServeSettings(
            **_lowered(planner, chosen),
            structure=chosen.structure,
            p99_s=server.p99_ms / 1e3,
            seconds=SMOKE_SERVE_S if planner.smoke else server.seconds,
        )
        label = f"{_structure_label(planner, chosen)} server"
        return _of_structure(planner, "serve", chosen, settings, keys, label)

    return planner.once(("serve", *_structured(chosen)), make)


def generate(planner: Planner, chosen: CellTechniques, keys: Keys) -> str | None:
    """Plan the generation of a structure, once, where the backend continues texts."""
    cell = chosen.cell
    if not _continues_texts(chosen):
        return None

    def make() -> str:
        asked = planner.generation.model_dump(exclude={"requests"}) if planner.generation else {}
        asked = {name: tuple(values) for name, values in asked.items()}
        asked["drafts"] = tuple(name for name in asked.get("drafts", ()) if name != cell.workload)
        settings = GenerateSettings(**_served(planner, chosen), structure=chosen.structure, **asked)
        label = _text_label(chosen, "generation")
        names = settings.drafts if chosen.backend.row.drafts else ()
        drafts = {DRAFT_ROLE + name: _draft(planner, chosen, name) for name in names}
        parents = {"lowered": keys["lower"], **drafts}
        return planner.add("generate", chosen, settings, parents, label, own_parents=False)

    return planner.once(("generate", *_structured(chosen)), make)


def requests(planner: Planner, chosen: CellTechniques, keys: Keys) -> str | None:
    """Plan the requests for texts of a structure, once, where the matrix asks for them."""
    asked = planner.generation.requests if planner.generation else None
    if asked is None or not _continues_texts(chosen):
        return None

    def make() -> str:
        settings = RequestsSettings(
            **_served(planner, chosen),
            structure=chosen.structure,
            rates_per_s=tuple(asked.rates_per_s),
            requests=asked.requests,
            prompt_tokens=(asked.prompt_tokens[0], asked.prompt_tokens[1]),
            new_tokens=(asked.new_tokens[0], asked.new_tokens[1]),
            ttft_s=asked.ttft_ms / 1e3,
            tpot_s=asked.tpot_ms / 1e3,
        )
        label = _text_label(chosen, "requests")
        return _of_structure(planner, "requests", chosen, settings, keys, label)

    return planner.once(("requests", *_structured(chosen)), make)


def _continues_texts(chosen: CellTechniques) -> bool:
    serves = chosen.backend.row.generates
    whole = serves == "any" or (serves == "floats" and chosen.format is None)
    return chosen.workload.row.generates and whole


def _text_label(chosen: CellTechniques, what: str) -> str:
    cell = chosen.cell
    structure = "+".join(filter(None, [chosen.structure, chosen.format or ""])) or "dense"
    return f"{cell.workload} {structure} {what} @ {cell.backend} {cell.precision}"


def _draft(planner: Planner, chosen: CellTechniques, workload: str) -> str:
    """Plan the lowered model of a workload, trained by its own optimizer, that proposes tokens; return it."""
    row = planner.lookup.workload(workload).row
    cell = replace(
        chosen.cell,
        workload=workload,
        optimizer=planner.lookup.optimizer(row.optimizer).text,
        schedule=CONSTANT,
        clip=NONE,
        average=NONE,
        train_batch_size=row.batch_size,
        tuning=FIXED,
        compression=UNCOMPRESSED,
        batch_size=1,
    )
    small = CellTechniques.of(cell, planner.lookup)
    return lower(planner, small, {"train": train(planner, small, {})})


def ceilings(planner: Planner, chosen: CellTechniques, keys: Keys) -> None:
    """Plan what a device can do at most, once: no cell's own, all cells' records are held against it."""
    for backend in (chosen.train_backend.row, chosen.backend.row):
        if backend.device in CEILING_DEVICES:
            planner.once(("ceilings", backend.name), partial(_ceilings, planner, backend))


def _ceilings(planner: Planner, backend: BackendRow) -> str:
    settings = CeilingsSettings(seconds=SMOKE_CEILING_S if planner.smoke else CEILING_S)
    return planner.add_of_device("ceilings", backend, settings, f"ceilings of {backend.device}")


def _structured(chosen: CellTechniques) -> tuple[object, ...]:
    """Return what tells timings of lowered models apart."""
    cell = chosen.cell
    return (
        *(cell.workload, chosen.structure, chosen.format),
        *(cell.backend, cell.precision, cell.batch_size),
    )


def _lowered_settings(planner: Planner, chosen: CellTechniques) -> LoweredSettings:
    cell = chosen.cell
    what = (cell.workload, chosen.format, cell.backend, cell.precision, cell.batch_size)
    return planner.once(("lowered", *what), lambda: LoweredSettings(**_lowered(planner, chosen)))


def _evaluated_settings(planner: Planner, chosen: CellTechniques) -> LoweredSettings:
    """Return the settings of an evaluation, on a part of the test set where the budget says so."""
    settings, samples = _lowered_settings(planner, chosen), planner.budget.evaluate_samples
    if samples is None or planner.smoke:
        return settings
    return planner.once(("evaluated", id(settings)), lambda: replace(settings, test_samples=samples))


def _of_structure(
    planner: Planner, kind: str, chosen: CellTechniques, settings: object, keys: Keys, label: str
) -> str:
    parents = {"lowered": keys["lower"]}
    return planner.add(kind, chosen, settings, parents, label, own_parents=False)


def _model(keys: Keys) -> str:
    return keys.get("compress") or keys["train"]


def _workload(planner: Planner, chosen: CellTechniques) -> dict[str, Any]:
    return {
        "workload": chosen.cell.workload,
        "quality_metric": chosen.workload.row.quality_metric,
        "test_samples": SMOKE_TEST_SAMPLES if planner.smoke else None,
    }


def _training(planner: Planner, chosen: CellTechniques) -> dict[str, Any]:
    cell = chosen.cell
    return {
        **_workload(planner, chosen),
        "optimizer": chosen.optimizer,
        "optimizer_settings": dict(chosen.optimizer.settings),
        **dict(zip(("schedule", "clip", "average"), chosen.regime.techniques, strict=True)),
        "regime_settings": chosen.regime.settings,
        "backend": chosen.train_backend,
        "precision": cell.train_precision,
        "batch_size": cell.train_batch_size,
    }


def _devices(chosen: CellTechniques) -> dict[str, Any]:
    return {"devices": chosen.cell.devices, "parallel": chosen.parallel}


def _spreading(chosen: CellTechniques) -> tuple[str, ...]:
    """Return what has several devices train together, where they do."""
    several = (chosen.parallel.row.implementation, "bench.models.parallel_training:ParallelTrainer")
    return several if chosen.cell.devices > 1 else ()


def _updates(chosen: CellTechniques) -> tuple[str, ...]:
    """Return what changes the weights in a step of training: the optimizer and what goes with it."""
    return tuple(each.row.implementation for each in (chosen.optimizer, *chosen.regime.techniques))


def _served(planner: Planner, chosen: CellTechniques) -> dict[str, Any]:
    return {
        **_workload(planner, chosen),
        "format": chosen.recipe.format,
        "backend": chosen.backend,
        "precision": chosen.cell.precision,
    }


def _lowered(planner: Planner, chosen: CellTechniques) -> dict[str, Any]:
    return {**_served(planner, chosen), "batch_size": chosen.cell.batch_size}


def _sampling(planner: Planner) -> dict[str, Any]:
    return {"sample_s": planner.budget.sample_s, "flush_cache": planner.budget.flush_cache}


def _place(planner: Planner, chosen: CellTechniques) -> str:
    cell = chosen.cell
    precision = f" {cell.precision}" if "precision" in planner.varying else ""
    return f"{cell.backend} b{cell.batch_size}{precision}"


def _structure_label(planner: Planner, chosen: CellTechniques) -> str:
    parts = "+".join(filter(None, [chosen.structure, chosen.format or ""]))
    return f"{chosen.cell.workload} {parts or 'dense'} @ {_place(planner, chosen)}"


def _lowered_label(planner: Planner, chosen: CellTechniques, model: str) -> str:
    format_ = f" + {chosen.format}" if chosen.format else ""
    return f"{planner.stages[model].label}{format_} @ {_place(planner, chosen)}"
