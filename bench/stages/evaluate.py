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
from bench.workloads.workload import Data, Workload
from techniques.backends.protocol import Program
from techniques.compression import COMPRESSIONS, Tolerance
from techniques.precisions import PRECISIONS


def run(request: Request, folder: Path) -> list[Measurement]:
    """Measure quality on the whole test set, agreement with the model and with the uncompressed one."""
    settings = request.settings
    workload, data = load_workload(settings)
    lowered = parent_folder(request, "lowered")
    build = read_structure(lowered).build
    program = load_backend(settings).load(lowered, build, numerics(settings), request.threads)
    outputs = run_all(program, workload, data, settings["batch_size"])
    own = load_outputs(parent_folder(request, "model"))
    reference = load_outputs(parent_folder(request, "reference"))
    kept = Measurement("reference_agreement", top1_agreement(outputs, reference), n=len(outputs))
    return [
        *(quality(settings, data, outputs) or [replace(kept, metric="quality", method="answers kept")]),
        *closeness(outputs, own, tolerance(settings)),
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
        for batch in workload.transform(chunk).split(batch_size):
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


def closeness(outputs: torch.Tensor, own: torch.Tensor, allowed: Tolerance) -> list[Measurement]:
    """Compare outputs (samples, ...) with those of the same model run eagerly in fp32, and judge them."""
    flat, own_flat = outputs.flatten(1).double(), own.flatten(1).double()
    absolute_error = (flat - own_flat).abs().max().item()
    relative_error = absolute_error / own_flat.abs().max().item()
    # Of each sample's own it would tell little: two scores near 0 turn round by the least of rounding.
    cosine = torch.nn.functional.cosine_similarity(flat.flatten(), own_flat.flatten(), dim=0).item()
    agreement = top1_agreement(outputs, own)
    faults = []
    if not torch.isfinite(flat).all():
        faults.append("outputs are not finite")
    if allowed.relative_error is not None and not relative_error <= allowed.relative_error:
        faults.append(f"relative error {relative_error:.2g} is over {allowed.relative_error:g}")
    if allowed.cosine is not None and not cosine >= allowed.cosine:
        faults.append(f"cosine {cosine:.4f} is under {allowed.cosine:g}")
    if allowed.top1_agreement is not None and not agreement >= allowed.top1_agreement:
        faults.append(f"agreement {agreement:.4f} is under {allowed.top1_agreement:g}")
    return [
        Measurement("absolute_error", absolute_error, n=len(outputs)),
        Measurement("relative_error", relative_error, n=len(outputs)),
        Measurement("cosine", cosine, n=len(outputs), method="all outputs as one vector"),
        Measurement("top1_agreement", agreement, n=len(outputs)),
        Measurement("valid", float(not faults), reason="; ".join(faults)),
    ]


def top1_agreement(outputs: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the share of samples whose largest output is at the same place in both."""
    return (outputs.argmax(dim=-1) == reference.argmax(dim=-1)).double().mean().item()
