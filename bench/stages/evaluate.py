"""Measure the quality of a lowered model on its own backend, and how far it is from what it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.models import load_outputs
from bench.records import Measurement, Request
from bench.stages.inputs import load_backend, load_workload, numerics, parent_folder
from bench.stages.train import quality
from bench.structures import read_structure
from bench.training import EVALUATION_BATCH
from bench.workloads.classification import class_recalls, flips
from bench.workloads.workload import Answers, Data, Workload, highest
from techniques.backends import BACKENDS
from techniques.backends.cpu_features import int8_saturates
from techniques.backends.protocol import Program
from techniques.compression import COMPRESSIONS, Tolerance
from techniques.precisions import PRECISIONS

COSINE = "all outputs as one vector"
INT8_PRODUCTS = ("int8-dynamic", "int8-static")


def run(request: Request, folder: Path) -> list[Measurement]:
    """Measure quality on the whole test set, agreement with the model and with the uncompressed one."""
    settings = request.settings
    workload, data = load_workload(settings)
    lowered = parent_folder(request, "lowered")
    build = read_structure(lowered, settings["workload"]).build
    program = load_backend(settings).load(lowered, build, numerics(settings), request.threads)
    outputs = run_all(program, workload, data, settings["batch_size"])
    own = load_outputs(parent_folder(request, "model"))
    reference = load_outputs(parent_folder(request, "reference"))
    kept = agreement("reference_agreement", outputs, reference, workload.answers)
    return [
        *(quality(settings, data, outputs) or [kept_quality(kept, outputs, reference)]),
        *_with_saturation(closeness(outputs, own, tolerance(settings), workload.answers), settings),
        kept,
        *who_pays(outputs, reference, data.test_targets, workload.classes),
    ]


def run_all(program: Program, workload: Workload, data: Data, batch_size: int) -> torch.Tensor:
    """Return a program's outputs on the whole test set, in batches of exactly the size it was lowered for."""
    inputs = data.test_inputs
    missing = -len(inputs) % batch_size
    padded = torch.cat([inputs, inputs[:1].expand(missing, *inputs.shape[1:])]) if missing else inputs
    outputs = []
    # Transforming many batches at once is cheaper than one by one, and is not what is measured here.
    for chunk in padded.split(batch_size * max(1, EVALUATION_BATCH // batch_size)):
        for batch in workload.transform(chunk.clone()).split(batch_size):
            outputs.append(program.to_tensor(program(program.prepare(batch))).clone())
    return torch.cat(outputs)[: len(inputs)]


def who_pays(
    outputs: torch.Tensor, reference: torch.Tensor, targets: torch.Tensor, classes: Sequence[str]
) -> list[Measurement]:
    """Measure the recall of each class, and the answers that were right and are wrong now or the other way.

    Empty for a workload that names no classes.
    """
    if not classes:
        return []
    lost, won = flips(outputs, reference, targets)
    recalls = class_recalls(outputs, targets).tolist()
    return [
        Measurement("answers_lost", lost, n=len(outputs)),
        Measurement("answers_won", won, n=len(outputs)),
        *(
            Measurement("class_recall", None, qualifier=name, reason="no test sample of this class")
            if math.isnan(recall)
            else Measurement("class_recall", recall, qualifier=name)
            for name, recall in zip(classes, recalls, strict=True)
        ),
    ]


def tolerance(settings: Mapping[str, Any]) -> Tolerance:
    """Return how far from its model this artifact may be: its format's row, else its precision's."""
    if settings["format"] is not None:
        return COMPRESSIONS.parse(settings["format"]).row.tolerance
    return Tolerance(relative_error=PRECISIONS[settings["precision"]].relative_error)


def closeness(
    outputs: torch.Tensor, own: torch.Tensor, allowed: Tolerance, answers: Answers | None = highest
) -> list[Measurement]:
    """Compare outputs (samples, ...) with those of the same model run eagerly in fp32, and judge them."""
    absolute_error = (outputs.double() - own.double()).abs().max().item()
    largest = own.double().abs().max().item()
    error_of_zeros = math.inf if absolute_error else 0.0
    relative_error = absolute_error / largest if largest else error_of_zeros
    near = cosine(outputs, own)
    same = agreement("top1_agreement", outputs, own, answers)
    faults = []
    if not torch.isfinite(outputs).all():
        faults.append("outputs are not finite")
    if allowed.relative_error is not None and not relative_error <= allowed.relative_error:
        faults.append(f"relative error {relative_error:.2g} is over {allowed.relative_error:g}")
    if allowed.cosine is not None and not near >= allowed.cosine:
        faults.append(f"cosine {near:.4f} is under {allowed.cosine:g}")
    least = allowed.top1_agreement
    if least is not None and same.value is not None and not same.value >= least:
        faults.append(f"agreement {same.value:.4f} is under {least:g}")
    return [
        Measurement("absolute_error", absolute_error, n=len(outputs)),
        Measurement("relative_error", relative_error, n=len(outputs)),
        Measurement("cosine", near, n=len(outputs), method=COSINE),
        same,
        Measurement("valid", float(not faults), reason="; ".join(faults)),
    ]


def _with_saturation(judged: list[Measurement], settings: Mapping[str, Any]) -> list[Measurement]:
    """Say of an int8 model that is out of its tolerance that this CPU's products saturate, where they do."""
    on_cpu = BACKENDS.parse(settings["backend"]).row.device == "cpu"
    why = int8_saturates(within_onednn=True) if on_cpu and settings["format"] in INT8_PRODUCTS else ""
    *others, valid = judged
    return [*others, replace(valid, reason=f"{valid.reason}; {why}") if why and valid.reason else valid]


def cosine(outputs: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the cosine between all outputs and all of the reference's.

    Of each sample's own it would tell little: two scores near 0 turn round by the least of rounding.
    """
    flat, other = outputs.double().flatten(), reference.double().flatten()
    return torch.nn.functional.cosine_similarity(flat, other, dim=0).item()


def agreement(
    metric: str, outputs: torch.Tensor, reference: torch.Tensor, answers: Answers | None
) -> Measurement:
    """Measure the share of answers that are the same in both outputs; None where outputs have no answers."""
    if answers is None:
        return Measurement(metric, None, reason="the outputs are numbers, not scores of answers")
    same = answers(outputs) == answers(reference)
    return Measurement(metric, same.double().mean().item(), n=len(outputs))


def kept_quality(kept: Measurement, outputs: torch.Tensor, reference: torch.Tensor) -> Measurement:
    """Measure the quality of a model that is served as it is: answers kept, else nearness to its outputs."""
    if kept.value is not None:
        return replace(kept, metric="quality", method="answers kept")
    near = cosine(outputs, reference)
    return Measurement("quality", near, n=len(outputs), method=f"cosine to the given model's, {COSINE}")
