"""A smaller model trained from scratch, with a teacher or, as the control, without."""

from __future__ import annotations

import torch
from torch.nn import functional

from techniques.compression.context import Context


def distill(
    model: torch.nn.Module, context: Context, *, width: float, temperature: float, alpha: float
) -> torch.nn.Module:
    """Return a student of `width` times the channels, taught by the outputs of `model`.

    Its loss is `alpha` × `soft_loss` at this temperature + (1 - `alpha`) × its own. Raises CannotApply where
    the workload has no student. Source: Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural
    Network" (arXiv:1503.02531).
    """
    taught = context.student(width)

    def loss(outputs: torch.Tensor, teacher: torch.Tensor, own_loss: torch.Tensor) -> torch.Tensor:
        return alpha * soft_loss(outputs, teacher, temperature) + (1 - alpha) * own_loss

    context.teach(taught, loss)
    return taught


def student(model: torch.nn.Module, context: Context, *, width: float) -> torch.nn.Module:
    """Return the same student, trained for as many steps on the labels alone.

    Raises CannotApply where the workload has no student.
    """
    untaught = context.student(width)
    context.teach(untaught, None)
    return untaught


def soft_loss(outputs: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return T² × KL(teacher ‖ student), both softened by T, over a batch of outputs (batch, classes).

    It is the mean over the batch, in nats. T² keeps the gradient's size as T changes. As T grows this becomes
    the squared difference of centred outputs over twice the number of classes (Hinton et al. 2015, section
    2.1), so it serves models that were trained by squared error too.
    """
    student_log = functional.log_softmax(outputs / temperature, dim=-1)
    teacher_log = functional.log_softmax(teacher / temperature, dim=-1)
    divergence = functional.kl_div(student_log, teacher_log, log_target=True, reduction="batchmean")
    return divergence * temperature**2
