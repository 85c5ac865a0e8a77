"""A student's loss, from its teacher's outputs on the samples of each batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from bench.models.predictions import Predictions
from bench.models.training import predict
from bench.workloads.classification import IGNORED
from bench.workloads.output_kinds import OutputKind
from bench.workloads.workload import Data, Workload
from techniques.compression.context import TaughtLoss
from techniques.outputs import parts
from techniques.registry import CannotApply

Teacher = Callable[[torch.Tensor], torch.Tensor]
"""From numbers of training samples to the teacher's main output on them, (samples, ...)."""


def teacher_of(
    kept: Predictions, load: Callable[[], torch.nn.Module], workload: Workload, data: Data
) -> Teacher:
    """Return what looks outputs up that were kept of all training samples, or else asks the model for them.

    Only then is the model loaded.
    """
    if len(kept.main) == len(data.train_inputs):
        return lambda rows: kept.main[rows]
    model = load()
    return lambda rows: predict(model, workload, data.train_inputs[rows], torch.device("cpu")).main


def taught_by(
    teacher: Teacher, name: str, kind: OutputKind | None, loss: TaughtLoss, workload: Workload, data: Data
) -> tuple[Workload, Data]:
    """Return workload and data with sample numbers as targets; the loss finds label and teacher by them.

    `name` is that of the output that both have, and `kind` what it is. The loss gets logits (batch, ...,
    classes) of both, two classes where there is one number for yes or no; where some targets do not count, as
    those of padding, (answers, classes) of the others. Raises CannotApply where outputs are values.
    """

    def scores(outputs: torch.Tensor) -> torch.Tensor:
        found = None if kind is None else kind.class_scores(outputs)
        if found is None:
            raise CannotApply("distillation needs scores of classes, but these outputs are values or labels")
        return found

    def taught_loss(outputs: Any, numbers: torch.Tensor) -> torch.Tensor:
        rows = numbers.cpu()
        own, targets = parts(outputs)[0][name], data.train_targets[rows]
        own_loss = workload.loss(outputs, targets.to(own.device))
        return loss(*_counted(scores(own), scores(teacher(rows)).to(own.device), targets), own_loss)

    scores(teacher(torch.arange(1)))
    numbered = replace(data, train_targets=torch.arange(len(data.train_inputs)))
    return replace(workload, loss=taught_loss), numbered


def _counted(
    student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both scores (..., classes) without the answers whose targets do not count."""
    if targets.is_floating_point() or targets.shape != student.shape[:-1]:
        return student, teacher
    counted = (targets != IGNORED).to(student.device)
    return (student, teacher) if counted.all() else (student[counted], teacher[counted])
