"""A made-up run of any number of records, entered through the store's own interface: as large as they come.

A record is a launch with all that it found. The cells cover workloads × optimizers × seeds × compressions ×
backends × precisions × batch sizes; some are skipped, and some of their stages fail.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import CellRow, Launch, StageRow, Store

RUN = "large"

_WORKLOADS = ("digits", "diabetes-mlp", "breast-cancer-mlp", "fashion-mnist-simplecnn")
_OPTIMIZERS = {
    **{"sgd": 900, "momentum": 450, "adam": 600, "adam:lr=0.003": 500},
    **{"adamw": 580, "rmsprop": 800, "lion": 650, "muon": None},
}
"""Optimizer → the steps to the target, None where it is never reached."""
_SEEDS = (0, 1, 2)
_COMPRESSIONS = (
    *("none", "finetune", "prune-magnitude:0.5", "prune-channels:0.5"),
    *("int8-dynamic", "int8-static", "prune-channels:0.5+int8-static", "int8-weight"),
)
_FORMATS = ("int8-dynamic", "int8-static", "int8-weight")
_SPEED = {"cpu-eager": 1.0, "cpu-inductor": 0.7, "onnxruntime": 0.4, "openvino": 0.3}
_PRECISIONS = ("fp32", "bf16")
_LAUNCHES = 3
_ITEMS, _SAMPLES, _CLASSES = 128, 100, 10
_OPERATORS = ("aten::addmm", "aten::convolution", "aten::relu", "aten::max_pool2d")
_FAILED_SHARE = 0.01
_NO_KERNEL = "no kernel multiplies {} here"
_ENVIRONMENT = {
    "cpu": {"model": "Test CPU", "cores": 4},
    "versions": {"torch": "2.13.0"},
    "cpu_features": {"cpu": ["avx512_vnni"], "onednn": ["avx512_vnni"]},
    "threads": 2,
}
_REQUEST = {
    "budget": {"target_interval": 0.05, "budget_s": None},
    "estimate": {"watts": 45.0},
    "prices": {
        **{"name": "list of a test", "currency": "EUR"},
        **{"machine_per_hour": 0.20, "energy_per_kwh": 0.30},
    },
}


def build_large(folder: Path, records: int) -> Store:
    """Enter a finished run of so many records, less than 4 of them missing, into a new store in `folder`."""
    cells: list[CellRow] = []
    stages: dict[str, StageRow] = {}
    launches = 0
    for point in _points():
        cell, own = _cell(*point)
        cells.append(cell)
        new = () if cell.skipped else [stage for stage in own if stage.key not in stages]
        stages |= {stage.key: stage for stage in new}
        launches += sum(_LAUNCHES if stage.timed else 1 for stage in new)
        if launches >= records:
            break
    ordered = [_stage("ceilings cpu"), *stages.values()]
    store = Store.open(folder)
    found = itertools.islice(_launches(ordered), records)
    whole = (_REQUEST, ordered, cells, found, (), {"imports": 12.5})
    store.add_run(RUN, "identity", "large", "bench run --matrix large", *whole)
    return store


def _points() -> Iterator[tuple[Any, ...]]:
    """Yield points batch size by batch size, so that few records have every workload and optimizer too."""
    sizes = (2**power for power in itertools.count())
    for size in sizes:
        for *point, optimizer_first in itertools.product(
            _SEEDS, _WORKLOADS, _COMPRESSIONS, _SPEED, _PRECISIONS, _OPTIMIZERS
        ):
            yield (*point, optimizer_first, size)


def _cell(
    seed: int, workload: str, compression: str, backend: str, precision: str, optimizer: str, size: int
) -> tuple[CellRow, list[StageRow]]:
    axes = {
        **{"workload": workload, "optimizer": optimizer, "train.backend": "cpu-eager"},
        **{"train.precision": "fp32", "train.batch_size": 128, "seed": seed},
        **{"compression": compression, "backend": backend, "precision": precision, "batch_size": size},
    }
    training = f"{workload}/{optimizer}/{seed}"
    steps = [part for part in compression.split("+") if not part.startswith(("int8", "none"))]
    place = f"{compression}@{backend} {precision} b{size}"
    structure = "+".join(p for p in compression.split("+") if p.startswith(("int8", "prune-channels")))
    chain = [f"train {training}", *(f"compress {training}/{step}" for step in steps)]
    labels = [*chain, f"lower {training}/{place}", f"evaluate {training}/{place}"]
    parents = dict(zip(labels[1:], labels, strict=False))
    labels += [
        f"step {workload}/{optimizer}",
        f"infer {workload}/{structure or 'dense'}@{backend} {precision} b{size}",
    ]
    stages = [_stage(label, parents.get(label, "")) for label in labels]
    name = f"{workload}/{optimizer}/{compression}@{backend} {precision} batch_size={size} seed={seed}"
    format_ = next((part for part in compression.split("+") if part.startswith("int8")), "")
    missing = bool(format_) and (precision == "bf16" or (backend, format_) == ("cpu-eager", "int8-static"))
    skipped = _NO_KERNEL.format(format_) if missing else ""
    return CellRow(name, axes, {stage.kind: stage.key for stage in stages}, skipped), stages


def _stage(label: str, parent: str = "") -> StageRow:
    kind, _, rest = label.partition(" ")
    settings: dict[str, Any] = {}
    if kind == "train":
        settings = {"target": 0.9, "quality_metric": "accuracy", "steps": 1200}
        settings["optimizer_settings"] = {"lr": 0.003 if "lr=0.003" in rest else 0.001}
    elif kind in ("lower", "infer"):
        format_ = next(
            (name for name in ("int8-dynamic", "int8-static", "int8-weight") if name in rest), None
        )
        settings = {"format": format_, "precision": "bf16" if " bf16 " in rest else "fp32"}
    parents = (_key(parent),) if parent else ()
    return StageRow(_key(label), kind, label, kind in ("step", "infer"), parents, PlannedRequest(settings))


def _key(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()


def _launches(stages: Sequence[StageRow]) -> Iterator[Launch]:
    for stage in stages:
        noise = random.Random(stage.key)
        failed = stage.kind in ("lower", "evaluate", "infer") and noise.random() < _FAILED_SHARE
        for round_ in range(_LAUNCHES if stage.timed else 1):
            yield Launch(stage.key, round_, _failure() if failed else _result(stage, round_, noise), False)


def _failure() -> Result:
    reason, tail = "RuntimeError: could not create a primitive", "Traceback\nRuntimeError: no primitive"
    return Result("failed", reason, tail, wall_s=1.0, body_s=0.5, environment=_ENVIRONMENT)


def _result(stage: StageRow, round_: int, noise: random.Random) -> Result:
    measurements = tuple(_MEASURE[stage.kind](stage.label, round_, noise))
    return Result("ok", wall_s=1.5, body_s=1.0, measurements=measurements, environment=_ENVIRONMENT)


def _ceilings(label: str, round_: int, noise: random.Random) -> list[Measurement]:
    return [
        *(Measurement("ceiling_operations_per_s", 1e12, qualifier=name) for name in ("fp32", "int8", "bf16")),
        Measurement("ceiling_bytes_per_s", 2e11),
    ]


def _train(label: str, round_: int, noise: random.Random) -> list[Measurement]:
    steps = _OPTIMIZERS[label.split("/")[1]]
    needed = steps and steps + noise.randrange(-50, 50)
    grid = [float(step) for step in range(60, 1201, 60)]
    quality = [0.95 - 0.9 * 0.5 ** (4.2 * step / (needed or 3000)) for step in grid]
    reason = "" if needed else "target not held"
    curves = {
        "curve_step": grid,
        "curve_seconds": [0.01 * step for step in grid],
        "curve_loss": [1 - q for q in quality],
        "curve_quality": quality,
    }
    return [
        Measurement("target_reached", float(bool(needed))),
        Measurement("steps_to_target", needed, reason=reason),
        Measurement("time_to_target_s", needed and 0.01 * needed, reason=reason),
        *(Measurement(name, value) for name, value in (("steps_trained", 1200), ("training_s", 12.0))),
        *(Measurement(name, quality[-1]) for name in ("quality", "accuracy", "validation_quality")),
        *(Measurement(name, own[-1], samples=tuple(own)) for name, own in curves.items()),
    ]


def _step(label: str, round_: int, noise: random.Random) -> list[Measurement]:
    step_s = 0.01 * noise.uniform(0.98, 1.02)
    parts = {"data": 0.05, "forward": 0.3, "backward": 0.45, "optimizer": 0.2}
    memory = ("peak_tensor_bytes", "peak_weights_bytes", "peak_activations_bytes", "peak_rss_bytes")
    exact = [
        *(Measurement(f"{part}_flops", 1e9) for part in ("forward", "backward", "optimizer")),
        *(Measurement(name, 5e7) for name in memory),
    ]
    return [
        Measurement("step_latency_s", step_s, 0.99 * step_s, 1.01 * step_s, n=_SAMPLES),
        *(Measurement(f"step_{part}_s", share * step_s) for part, share in parts.items()),
        *(Measurement(f"step_{part}_share", share) for part, share in parts.items()),
        *([] if round_ else exact),
    ]


def _compress(label: str, round_: int, noise: random.Random) -> list[Measurement]:
    before = 0.94 + noise.uniform(-0.01, 0.01)
    return [
        Measurement("quality", before, qualifier="before"),
        Measurement("quality", before - 0.05, qualifier="pruned"),
        Measurement("quality", before - 0.01, qualifier="recovered"),
        Measurement("parameters", 200_000.0, qualifier="recovered"),
        Measurement("nonzero_parameters", 100_000.0, qualifier="recovered"),
    ]


def _lower(label: str, round_: int, noise: random.Random) -> list[Measurement]:
    size, share = (2e5 if "int8" in label else 8e5), 0.5 if "prune" in label else 1.0
    names = ("dense_flops", "effective_flops", "fvcore_flops")
    return [
        Measurement("artifact_bytes", size),
        Measurement("artifact_compressed_bytes", size * share),
        Measurement("parameters", 200_000.0),
        Measurement("nonzero_parameters", 200_000.0 * share),
        *(Measurement(name, 1e7 * share) for name in names),
        Measurement("flops_complete", 1.0),
        Measurement("least_bytes_moved", 1e6),
        Measurement("lowering_s", noise.uniform(1, 2)),
    ]


def _evaluate(label: str, round_: int, noise: random.Random) -> list[Measurement]:
    loss = 0.02 * ("prune" in label) + 0.01 * ("int8" in label)
    right = tuple(float(noise.random() < 0.94 - loss) for _ in range(_ITEMS))
    quality = sum(right) / _ITEMS
    agreements = ("top1_agreement", "reference_agreement", "macro_recall", "cosine")
    errors = ("relative_error", "absolute_error", "answers_lost", "answers_won", "ece", "brier", "nll")
    invalid = noise.random() < _FAILED_SHARE
    return [
        *(Measurement(name, quality) for name in ("quality", "accuracy")),
        Measurement("valid", float(not invalid), reason="cosine 0.5 is under 0.98" if invalid else ""),
        *(Measurement(name, 0.98) for name in agreements),
        *(Measurement(name, 0.01) for name in errors),
        *(Measurement("class_recall", quality, qualifier=f"class {n}") for n in range(_CLASSES)),
        Measurement("item_right", quality, n=_ITEMS, method="accuracy", samples=right),
    ]


def _infer(label: str, round_: int, noise: random.Random) -> list[Measurement]:
    place, _, size = label.rpartition(" b")
    backend = place.rpartition("@")[2].partition(" ")[0]
    latency = 1e-3 * _SPEED[backend] * int(size) ** 0.7 * noise.uniform(0.98, 1.02)
    latency *= (0.6 if "int8" in label else 1) * (0.5 if "channels" in label else 1)
    samples = tuple(latency * noise.uniform(0.95, 1.2) for _ in range(_SAMPLES))
    exact = [
        *(Measurement(name, 3e6) for name in ("peak_tensor_bytes", "rss_growth_bytes")),
        Measurement("kernels", 2.0, method="brgemm_avx512, jit_avx512"),
        *(Measurement("operator_s", latency / 5, qualifier=name) for name in _OPERATORS),
        *(Measurement("operator_calls", 2.0, qualifier=name, method="[1, 64]") for name in _OPERATORS),
    ]
    return [
        Measurement("latency_s", latency, 0.99 * latency, 1.01 * latency, _SAMPLES, samples=samples),
        Measurement("latency_p90_s", 1.1 * latency, n=_SAMPLES),
        Measurement("latency_p99_s", None, n=_SAMPLES, reason="too few samples"),
        *(Measurement(name, 0.02) for name in ("within_variation", "page_faults")),
        Measurement("throughput", int(size) / latency, n=_SAMPLES),
        *(Measurement(name, noise.uniform(0.9, 1.1)) for name in ("load_s", "first_call_s")),
        Measurement("energy_j", None, reason="no counter"),
        Measurement("peak_rss_bytes", 4e8),
        *([] if round_ else exact),
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
