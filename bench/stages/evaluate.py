"""Measures the quality of a lowered model on its backend, and its agreement with the original model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.errors import StageError
from bench.models.closeness import agreement, closeness, further_closeness, kept_quality
from bench.models.fidelity import Qualities, fidelity
from bench.models.files import load_outputs
from bench.models.predictions import Predictions, gathered, named_like
from bench.models.training import EVALUATION_BATCH
from bench.records import Measurement, Request
from bench.stages.inputs import load_backend, load_lowered, parent_folder
from bench.stages.settings import LoweredSettings
from bench.stages.train import quality
from bench.workloads.classification import (
    IGNORED,
    class_numbers,
    class_recalls,
    flips,
    yes_or_no_targets,
)
from bench.workloads.loading import load_workload
from bench.workloads.output_kinds import OutputKind
from bench.workloads.workload import Data, Workload
from techniques.backends.cpu_features import int8_saturates
from techniques.backends.protocol import Program
from techniques.compression import Tolerance
from techniques.precisions import PRECISIONS

INT8_PRODUCTS = ("int8-dynamic", "int8-static")
_DOUBLES = (torch.float64, torch.complex128)


def run(request: Request[LoweredSettings], folder: Path) -> list[Measurement]:
    """Measure quality on the test set, agreement with the model and with the uncompressed one."""
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    lowered = parent_folder(request, "lowered")
    program = load_lowered(load_backend(settings), lowered, settings, request.threads)
    samples = len(data.test_inputs)  # those of the models are of the whole test set
    own = load_outputs(parent_folder(request, "model")).first(samples)
    reference = load_outputs(parent_folder(request, "reference")).first(samples)
    outputs = run_all(program, workload, data, settings.batch_size, own)
    kind = reference.kind
    assert kind is not None  # the train stage recognised it
    kept = agreement("reference_agreement", outputs.main, reference.main, kind, workload.answers)
    started = time.perf_counter()
    measured = quality(settings, data, outputs)
    qualities = Qualities(settings.quality_metric, measured, time.perf_counter() - started)
    return [
        *(measured or [kept_quality(kept, outputs.main, reference.main, kind)]),
        *with_saturation(judged(outputs, own, workload, tolerance(settings, own)), settings),
        kept,
        *([right_answers(outputs.main, kind, data.test_targets)] if workload.has_targets else []),
        *who_pays(outputs, reference, data.test_targets, workload),
        *fidelity(outputs, reference, data, workload, qualities),
    ]


def run_all(
    program: Program, workload: Workload, data: Data, batch_size: int, own: Predictions
) -> Predictions:
    """Return a program's outputs on the whole test set, in batches of the size that it was lowered for.

    They have the names of the model's `own`.
    """
    inputs = data.test_inputs
    missing = -len(inputs) % batch_size
    padded = torch.cat([inputs, inputs[:1].expand(missing, *inputs.shape[1:])]) if missing else inputs

    def batches() -> Iterator[tuple[Any, int]]:
        # Transforming many batches at once is cheaper; the transformation is not measured here.
        for chunk in padded.split(batch_size * max(1, EVALUATION_BATCH // batch_size)):
            for batch in workload.transform(chunk.clone()).split(batch_size):
                outputs = program.to_tensors(program(program.prepare(batch)))
                yield named_like(own, outputs), len(batch)

    return alike(gathered(batches()).first(len(inputs)), own)


def alike(outputs: Predictions, own: Predictions) -> Predictions:
    """Return the outputs that the model has too."""
    lacking = [name for name in own.tensors if name not in outputs.tensors]
    if lacking:
        raise StageError(
            f"the runtime gives no row for each sample: {', '.join(lacking) or 'its one output'}"
        )
    return replace(outputs, tensors={name: outputs.tensors[name] for name in own.tensors}, kind=own.kind)


def judged(
    outputs: Predictions, own: Predictions, workload: Workload, allowed: Tolerance, *, few: bool = False
) -> list[Measurement]:
    """Compare outputs with the model's, each by name, and judge them together.

    Of `few` samples the share of labels that stay is not judged. The verdict comes last.
    """
    assert own.kind is not None
    entries = closeness(outputs.main, own.main, allowed, own.kind, workload.answers, few=few)
    measured, faults = further_closeness(outputs, own, allowed, few=few)
    *rest, valid = entries
    reason = "; ".join(filter(None, [valid.reason, *faults]))
    return [*rest, *measured, replace(valid, value=float(not reason), reason=reason)]


def right_answers(outputs: torch.Tensor, kind: OutputKind, targets: torch.Tensor) -> Measurement:
    """Measure the share of a given model's answers that equal the targets; those of -100 do not count.

    Outputs are (samples, ...), with one answer for each target. Raises StageError where they are not, and for
    targets that are no classes.
    """
    answers = kind.answers(outputs)
    if answers is None:
        return Measurement(
            "accuracy", None, reason="the outputs are values, not answers to compare with targets"
        )
    if answers.numel() != targets.numel():
        raise StageError(
            f"targets of shape {tuple(targets.shape)} do not fit answers of shape {tuple(answers.shape)}"
        )
    if kind.name == "scores":
        targets = class_numbers(targets, outputs.shape[kind.axis])
    elif kind.name in ("probability", "logit"):
        targets = yes_or_no_targets(targets)
    counted = targets != IGNORED
    right = (answers.view_as(targets) == targets)[counted]
    method = f"answers that equal the targets; {kind.text}: {kind.basis}"
    if not len(right):
        return Measurement("accuracy", None, reason="no target counts: all are -100")
    return Measurement("accuracy", right.double().mean().item(), n=len(right), method=method)


def who_pays(
    outputs: Predictions, reference: Predictions, targets: torch.Tensor, workload: Workload
) -> list[Measurement]:
    """Measure the recall of each class, and the answers that became wrong or right.

    Empty for a workload that names no classes, or whose answers are not one class for each sample.
    """
    classes: Sequence[str] = workload.classes
    assert reference.kind is not None
    read = workload.answers or reference.kind.answers
    found, before = read(outputs.main), read(reference.main)
    if not classes or found is None or before is None or found.numel() != targets.numel():
        return []
    yes_or_no = workload.answers is None and reference.kind.name in ("probability", "logit")
    targets = yes_or_no_targets(targets) if yes_or_no else class_numbers(targets, len(classes))
    found, before = found.view_as(targets), before.view_as(targets)
    lost, won = flips(found, before, targets)
    recalls = class_recalls(found, targets, len(classes)).tolist()
    return [
        Measurement("answers_lost", lost, n=len(targets)),
        Measurement("answers_won", won, n=len(targets)),
        *(
            Measurement("class_recall", None, qualifier=name, reason="no test sample of this class")
            if math.isnan(recall)
            else Measurement("class_recall", recall, qualifier=name)
            for name, recall in zip(classes, recalls, strict=True)
        ),
    ]


def tolerance(settings: LoweredSettings, own: Predictions) -> Tolerance:
    """Return the artifact's tolerance: that of its format, else that of its precision.

    The model's `own` outputs in fp32 are no measure of fp64 beyond what fp32 rounds.
    """
    if settings.format is not None:
        return settings.format.row.tolerance
    rounded = 0.0 if own.main.dtype in _DOUBLES else PRECISIONS["fp32"].relative_error
    return Tolerance(relative_error=max(rounded, PRECISIONS[settings.precision].relative_error))


def with_saturation(entries: list[Measurement], settings: LoweredSettings) -> list[Measurement]:
    """Add to an INVALID int8 result that this CPU's products saturate, if they do."""
    on_cpu = settings.backend.row.device == "cpu"
    why = (
        int8_saturates(within_onednn=True)
        if on_cpu and settings.format is not None and settings.format.name in INT8_PRODUCTS
        else ""
    )
    *others, valid = entries
    return [*others, replace(valid, reason=f"{valid.reason}; {why}") if why and valid.reason else valid]
