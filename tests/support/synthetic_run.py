"""A made-up run, entered through the store's own interface: what reports have to cope with."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store

ENVIRONMENT = {"cpu": {"model": "Test CPU", "cores": 4}, "versions": {"torch": "2.11.0"}}
FORMATS = ("int8-dynamic", "int8-static")
SPEED = {"cpu-eager": 1.0, "cpu-inductor": 0.7, "onnxruntime": 0.4, "openvino": 0.3}
STEPS = {"adam": 600, "momentum": 450, "rmsprop": 800}


@dataclass(frozen=True)
class Synthetic:
    """What to make up. `results` maps the start of a stage's label to the result it shall have."""

    optimizers: tuple[str, ...] = ("adam", "momentum", "sgd")
    compressions: tuple[str, ...] = ("none", "finetune", "prune-magnitude:0.5", "int8-static")
    backends: tuple[str, ...] = ("cpu-eager", "onnxruntime")
    seeds: tuple[int, ...] = (0,)
    workloads: tuple[str, ...] = ("digits",)
    batch_sizes: tuple[int, ...] = (1,)
    train_batch_sizes: tuple[int, ...] = (128,)
    launches: int = 3
    gap: Mapping[str, float] = field(default_factory=dict)
    results: Mapping[str, Result] = field(default_factory=dict)
    skip_reason: str = "cpu-eager has no kernel for int8-static"
    invalid: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    peaks: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Mapping[str, Any], ...] = ()
    disturbed: str = ""
    recomputed_flops: float | None = None
    incomplete: Mapping[str, str] = field(default_factory=dict)
    """Part of a stage's label → what its count of FLOPs lacks."""
    environment: Mapping[str, Any] = field(default_factory=lambda: ENVIRONMENT)
    host: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, tuple[Measurement, ...]] = field(default_factory=dict)
    """Start of a stage's label → what it measures beside the rest, or in its place: samples in each launch,
    all else in the first."""
    unlaunched: tuple[str, ...] = ()
    """Starts of the labels of stages that have no launch, as where a run was ended early."""
    taken_over: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Start of a stage's label → the environment of another run, which its launch is taken over from."""
    further: tuple[str, ...] = ()
    """Kinds of stages that each lowered cell has too; all that they measure is in `measured`."""


def key_of(text: str) -> str:
    """Return the key of the stage with this label."""
    return hashlib.sha256(text.encode()).hexdigest()


def build(
    folder: Path,
    made_up: Synthetic,
    *,
    run_id: str = "run-1",
    finish: bool = True,
    url: str = "",
    identity: str = "identity",
) -> Store:
    """Enter a run into the store in `folder`, or on a server; runs of one command share an identity."""
    cells, stages = [], {}
    for point in _points(made_up):
        cell, own = _cell(made_up, *point)
        cells.append(cell)
        stages |= {} if cell.skipped else {stage.key: stage for stage in own}
    ceilings = _stage("ceilings cpu", None)
    stages[ceilings.key] = ceilings
    store = Store.open(folder, url)
    command = "bench run --matrix quick"
    request = {
        "notes": list(made_up.notes),
        "peaks": dict(made_up.peaks),
        "metrics": [dict(row) for row in made_up.metrics],
        **made_up.request,
    }
    plan = (list(stages.values()), cells)
    store.start_run(run_id, identity, "quick", command, request, *plan, host=made_up.host)
    for stage in stages.values():
        _launch(store, run_id, stage, made_up)
    store.add_overhead(run_id, "imports", 12.5)
    store.add_overhead(run_id, "start of processes", 2.5)
    if finish:
        store.finish_run(run_id)
    return store


def _points(made_up: Synthetic) -> Iterator[tuple[Any, ...]]:
    return itertools.product(
        made_up.workloads,
        made_up.optimizers,
        made_up.seeds,
        made_up.compressions,
        made_up.backends,
        made_up.batch_sizes,
        made_up.train_batch_sizes,
    )


def _cell(
    made_up: Synthetic,
    workload: str,
    optimizer: str,
    seed: int,
    compression: str,
    backend: str,
    batch_size: int,
    train_batch_size: int,
) -> tuple[CellRow, list[StageRow]]:
    axes = {
        **{"workload": workload, "optimizer": optimizer, "train.backend": "cpu-eager"},
        **{"train.precision": "fp32", "train.batch_size": train_batch_size, "seed": seed},
        **{"compression": compression, "backend": backend, "precision": "fp32", "batch_size": batch_size},
    }
    steps = [part for part in compression.split("+") if part not in ("none", *FORMATS)]
    structure = "+".join(filter(None, map(_structure, compression.split("+")))) or "dense"
    several = len(made_up.train_batch_sizes) > 1
    own = f" b{train_batch_size}" if several else ""
    training = f"{workload}/{optimizer}/{seed}{own}"
    chain = [f"train {training}"]
    chain += [f"compress {training}/{'+'.join(steps[: i + 1])}" for i in range(len(steps))]
    lowered = f"{training}/{compression}@{backend} {batch_size}"
    labels = [*chain, f"lower {lowered}", f"evaluate {lowered}"]
    labels += [f"{kind} {lowered}" for kind in made_up.further]
    parents = dict(zip(labels[1:], labels, strict=False))
    labels += [f"step {workload}/{optimizer}{own}", f"infer {workload}/{structure}@{backend} {batch_size}"]
    stages = [_stage(label, parents.get(label)) for label in labels]
    name = f"{workload}/{optimizer}/{compression}@{backend}"
    name += f" seed={seed}" if seed else ""
    name += f" train.batch_size={train_batch_size}" if several else ""
    missing = backend == "cpu-eager" and "int8-static" in compression
    by_kind = {stage.kind: stage.key for stage in stages}
    return CellRow(name, axes, by_kind, made_up.skip_reason if missing else ""), stages


def _structure(part: str) -> str:
    """Spell what a step makes the model run as, as the plan does: masks change nothing."""
    if part.startswith(("distill", "student")):
        return f"student:{part.partition(':')[2]}"
    return part if part in FORMATS or part.startswith("prune-channels") else ""


def _stage(label: str, parent: str | None) -> StageRow:
    kind = label.split()[0]
    settings: dict[str, Any] = {}
    if kind == "train":
        settings = {"target": 0.9, "quality_metric": "accuracy", "steps": 1200}
        settings["optimizer_settings"] = _settings_of(label.rsplit("/", 2)[1])
    if kind in ("lower", "infer"):
        settings = {"format": next((name for name in FORMATS if name in label), None)}
    timed = kind in ("step", "infer")
    return StageRow(
        key_of(label),
        kind,
        label,
        timed,
        (key_of(parent),) if parent else (),
        PlannedRequest(settings),
    )


def _settings_of(optimizer: str) -> dict[str, Any]:
    """Return the settings that an optimizer's text gives, and Adam's rate without one."""
    given = dict(part.split("=") for part in optimizer.partition(":")[2].split(",") if part)
    return {"lr": 0.001} | {key: float(value) for key, value in given.items() if key != "variant"}


def _launch(store: Store, run_id: str, stage: StageRow, made_up: Synthetic) -> None:
    if stage.label.startswith(made_up.unlaunched):
        return
    special = next((r for start, r in made_up.results.items() if stage.label.startswith(start)), None)
    if special is not None:
        store.add_launch(run_id, stage, 0, special)
        return
    for round_ in range(made_up.launches if stage.timed else 1):
        own = next((m for start, m in made_up.measured.items() if stage.label.startswith(start)), ())
        own = tuple(entry for entry in own if entry.n or not round_)
        replaced = {entry.metric for entry in own}
        measure = _MEASURE.get(stage.kind, lambda *_: [])
        usual = (m for m in measure(stage, made_up, round_) if m.metric not in replaced)
        measurements = (*usual, *own)
        result = Result(
            "ok",
            wall_s=1.5,
            body_s=1.0,
            measurements=measurements,
            environment=_environment(stage, made_up),
            dynamic={"disturbed": made_up.disturbed if stage.timed else ""},
        )
        store.add_launch(run_id, stage, round_, result, reused=_elsewhere(stage, made_up) is not None)


def _elsewhere(stage: StageRow, made_up: Synthetic) -> Mapping[str, Any] | None:
    found = made_up.taken_over.items()
    return next((seen for start, seen in found if stage.label.startswith(start)), None)


def _environment(stage: StageRow, made_up: Synthetic) -> dict[str, Any]:
    """Return what a stage saw: those that run side by side have a core each, as in a real run."""
    cores = 2 if stage.kind in ("train", "step", "infer", "ceilings") else 1
    return {"cpus": cores, "threads": cores, **(_elsewhere(stage, made_up) or made_up.environment)}


def _train(stage: StageRow, made_up: Synthetic, _: int) -> list[Measurement]:
    _workload, optimizer, seed = stage.label.rsplit("/", 2)
    steps = STEPS.get(optimizer)
    steps = steps and steps + 30 * int(seed.partition(" ")[0])
    scale = steps or 3000
    grid = [float(step) for step in range(60, 1201, 60)]
    quality = [0.95 - 0.9 * 0.5 ** (4.2 * step / scale) - 0.01 * (step % 120 > 0) for step in grid]
    seconds = [0.01 * step * made_up.gap.get(optimizer, 1.0) for step in grid]
    time_s = steps and 0.01 * steps * made_up.gap.get(optimizer, 1.0)
    return [
        Measurement("target_reached", float(bool(steps))),
        Measurement("steps_to_target", steps, reason="" if steps else "target not held"),
        Measurement("steps_to_first_crossing", steps),
        Measurement("steps_trained", 1200),
        Measurement("time_to_target_s", time_s, reason="" if steps else "target not held"),
        Measurement("training_s", seconds[-1]),
        Measurement("train_throughput", 12800.0),
        Measurement("quality", quality[-1]),
        Measurement("accuracy", quality[-1]),
        Measurement("curve_step", grid[-1], samples=tuple(grid)),
        Measurement("curve_seconds", seconds[-1], samples=tuple(seconds)),
        Measurement("curve_loss", 0.1, samples=tuple(1 - q for q in quality)),
        Measurement("curve_quality", quality[-1], samples=tuple(quality)),
    ]


def _step(stage: StageRow, made_up: Synthetic, round_: int) -> list[Measurement]:
    optimizer, _, settings = stage.label.rsplit("/", 1)[1].partition(" ")[0].partition(":")
    state = {"sgd": 0, "momentum": 1, "adam": 2, "rmsprop": 1}[optimizer]
    variant = settings.partition("variant=")[2] or "loop"
    lacking = _lacking(stage, made_up)
    exact = [
        Measurement("forward_flops", 1e9, reason=lacking and f"incomplete: {lacking}"),
        Measurement("backward_flops", 2e9, reason=lacking and f"incomplete: {lacking}"),
        Measurement("optimizer_flops", 0.0),
        Measurement("flops_complete", float(not lacking), reason=lacking),
        Measurement("optimizer_state_bytes", 1e6 * state),
        Measurement("optimizer_parameters", 200_000.0, qualifier=optimizer, method=f"{variant}: w, b"),
        Measurement("peak_tensor_bytes", 5e7 + 1e6 * state),
        *(Measurement(f"peak_{part}_bytes", 1e7) for part in ("weights", "gradients")),
        Measurement("peak_optimizer_bytes", 1e6 * state),
        Measurement("peak_activations_bytes", 3e7),
        Measurement("peak_rss_bytes", 6e8),
    ]
    if made_up.recomputed_flops is not None:
        exact += [
            Measurement("recomputed_flops", made_up.recomputed_flops),
            Measurement("least_bytes_moved", 1e8),
        ]
    latency = Measurement("step_latency_s", (0.0099, 0.0100, 0.0101)[round_ % 3], n=100)
    # As where sums come in any order, steps of one optimizer do not repeat themselves.
    loss = Measurement("early_loss", 2.3 + (1e-7 * round_ if optimizer == "momentum" else 0.0), n=4)
    return [latency, loss, *_parts(state, variant, round_), *([] if round_ else exact)]


def _parts(state: int, variant: str, round_: int) -> list[Measurement]:
    """Make up parts of a step; only the time of the optimizer differs between launches."""
    update_s = 0.001 * (1 + state) * {"foreach": 0.7, "fused": 0.5}.get(variant, 1.0)
    update_s *= (0.95, 1.0, 1.05)[round_ % 3]
    parts = {"data": 0.0005, "forward": 0.003, "backward": 0.004, "optimizer": update_s}
    whole = sum(parts.values())
    return [
        *(Measurement(f"step_{part}_s", spent_s) for part, spent_s in parts.items()),
        *(Measurement(f"step_{part}_share", spent_s / whole) for part, spent_s in parts.items()),
        Measurement("step_parts_ratio", whole / 0.01),
    ]


def _compress(stage: StageRow, made_up: Synthetic, _: int) -> list[Measurement]:
    kept = 0.5 if "prune" in stage.label else 1.0
    return [
        Measurement("quality", 0.94, qualifier="before"),
        Measurement("quality", 0.88, qualifier="pruned"),
        Measurement("quality", 0.935 if kept < 1 else 0.945, qualifier="recovered"),
        Measurement("parameters", 200_000.0, qualifier="recovered"),
        Measurement("nonzero_parameters", 200_000 * kept, qualifier="recovered"),
    ]


def _lower(stage: StageRow, made_up: Synthetic, _: int) -> list[Measurement]:
    size = 2e5 if "int8" in stage.label else 8e5
    lacking = _lacking(stage, made_up)
    why = lacking and f"incomplete: {lacking}"
    kept = 0.6 if "prune" in stage.label else 0.9
    return [
        Measurement("artifact_bytes", size),
        Measurement("artifact_compressed_bytes", size * kept),
        Measurement("parameters", 200_000.0),
        Measurement("nonzero_parameters", 100_000.0 if kept < 0.9 else 200_000.0),
        Measurement("dense_flops", 1e7, reason=why),
        Measurement("least_bytes_moved", 1e6),
        Measurement("effective_flops", 1e7 * (0.5 if kept < 0.9 else 1), reason=why),
        Measurement("flops_complete", float(not lacking), reason=lacking),
    ]


def _lacking(stage: StageRow, made_up: Synthetic) -> str:
    return next((what for part, what in made_up.incomplete.items() if part in stage.label), "")


def _evaluate(stage: StageRow, made_up: Synthetic, _: int) -> list[Measurement]:
    label = stage.label.removeprefix("evaluate ")
    invalid = any(part in label for part in made_up.invalid)
    _workload, trained, number, _served = label.rsplit("/", 3)
    optimizer = trained.partition(":")[0]
    base = {"adam": 0.94, "momentum": 0.93, "sgd": 0.85, "rmsprop": 0.92}[optimizer]
    seed = int(number.partition(" ")[0])
    base += 0.002 * seed
    loss = 0.02 * ("prune" in label) + 0.004 * ("int8" in label) - 0.003 * ("finetune" in label)
    loss += 0.05 * ("student" in label) + (0.04 + 0.002 * seed) * ("distill" in label)
    return [
        Measurement("quality", 0.99 if invalid else base - loss),
        Measurement("accuracy", 0.99 if invalid else base - loss),
        Measurement("valid", 0.0 if invalid else 1.0, reason="cosine 0.5 is under 0.98" if invalid else ""),
        Measurement("top1_agreement", 0.99),
        Measurement("reference_agreement", 0.98),
        Measurement("answers_lost", 0.012),
        Measurement("answers_won", 0.005),
        Measurement("class_recall", base - 2 * loss, qualifier="shirt"),
        Measurement("class_recall", base, qualifier="bag"),
    ]


def _infer(stage: StageRow, made_up: Synthetic, round_: int) -> list[Measurement]:
    label, batch_size = stage.label.rsplit(" ", 1)
    noise = random.Random(f"{label}{round_}").uniform(0.98, 1.02)
    latency = 1e-3 * SPEED[label.rsplit("@", 1)[1]] * int(batch_size) ** 0.7 * noise
    latency *= 0.6 if "int8" in label else 1
    latency *= 0.5 if "student" in label or "channels" in label else 1
    return [
        Measurement("latency_s", latency, n=500),
        Measurement("latency_p90_s", latency * 1.1, n=500),
        Measurement("latency_p99_s", None, reason="too few samples"),
        Measurement("throughput", int(batch_size) / latency),
        Measurement("energy_j", None, reason="no counter"),
        *([] if round_ else [Measurement("peak_tensor_bytes", 3e6), Measurement("peak_rss_bytes", 4e8)]),
    ]


def _ceilings(stage: StageRow, made_up: Synthetic, _: int) -> list[Measurement]:
    return [
        Measurement("ceiling_operations_per_s", 1e12, qualifier="fp32"),
        Measurement("ceiling_operations_per_s", 2e12, qualifier="int8"),
        Measurement("ceiling_bytes_per_s", 2e11),
    ]


_MEASURE = {
    "ceilings": _ceilings,
    "train": _train,
    "step": _step,
    "compress": _compress,
    "lower": _lower,
    "evaluate": _evaluate,
    "infer": _infer,
}
