"""A smaller model trained from scratch, with a teacher or, as the control, without."""

from __future__ import annotations

import torch
from torch.nn import functional

from techniques.compression.context import Context
from techniques.compression.runs import line, shapes
from techniques.registry import CannotApply


def distill(
    model: torch.nn.Module, context: Context, *, width: float, temperature: float, alpha: float, into: str
) -> torch.nn.Module:
    """Return a student of `width` times the channels, taught by the outputs of `model`.

    With `into`, the model of that workload, whatever the `width`. Its loss is `alpha` × `soft_loss` at this
    temperature + (1 - `alpha`) × its own. Raises CannotApply where the workload has no student, and where
    that of `into` takes other inputs or gives other outputs. Source: Hinton, Vinyals & Dean 2015, "Distilling
    the Knowledge in a Neural Network" (arXiv:1503.02531).
    """
    return _taught(_pupil(model, context, width, into), context, temperature, alpha)


def distill_depth(
    model: torch.nn.Module, context: Context, *, depth: float, temperature: float, alpha: float
) -> torch.nn.Module:
    """Return a student of `depth` times the layers, as wide as `model` and taught by it as `distill` does.

    Raises CannotApply where the workload has no such student. Source: Sanh et al. 2019, "DistilBERT"
    (arXiv:1910.01108), whose student starts from layers of its teacher; this one starts from scratch.
    """
    return _taught(context.student(depth=depth), context, temperature, alpha)


def student(model: torch.nn.Module, context: Context, *, width: float, into: str) -> torch.nn.Module:
    """Return the same student as `distill`, trained for as many steps on the labels alone; raises as that."""
    return _untaught(_pupil(model, context, width, into), context)


def student_depth(model: torch.nn.Module, context: Context, *, depth: float) -> torch.nn.Module:
    """Return the same student as `distill_depth`, trained for as many steps on the labels alone.

    Raises CannotApply where the workload has no such student.
    """
    return _untaught(context.student(depth=depth), context)


def _pupil(model: torch.nn.Module, context: Context, width: float, into: str) -> torch.nn.Module:
    """Return the student of a width, or the model of another workload that does what `model` does."""
    if not into:
        return context.student(width)
    pupil = context.student(into=into)
    try:
        found = shapes(pupil, context.example)
    except Exception as error:
        raise CannotApply(f"the model of {into} fails on these inputs: {line(error)}") from error
    expected = shapes(model, context.example)
    if found != expected:
        raise CannotApply(f"the model of {into} gives outputs {found}, and its teacher {expected}")
    return pupil


def _taught(pupil: torch.nn.Module, context: Context, temperature: float, alpha: float) -> torch.nn.Module:
    def loss(outputs: torch.Tensor, teacher: torch.Tensor, own_loss: torch.Tensor) -> torch.Tensor:
        return alpha * soft_loss(outputs, teacher, temperature) + (1 - alpha) * own_loss

    context.teach(pupil, loss)
    return pupil


def _untaught(pupil: torch.nn.Module, context: Context) -> torch.nn.Module:
    context.teach(pupil, None)
    return pupil


def soft_loss(outputs: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return T² × KL(teacher ‖ student), both softened by T, of outputs (..., classes).

    It is the mean over all answers, in nats: of a decoder's outputs (batch, time, classes) over every token,
    as the loss of the labels is. T² keeps the gradient's size as T changes. As T grows this becomes the
    squared difference of centred outputs over twice the number of classes (Hinton et al. 2015, section 2.1),
    so it serves models that were trained by squared error too.
    """
    student_log = functional.log_softmax(outputs / temperature, dim=-1)
    teacher_log = functional.log_softmax(teacher / temperature, dim=-1)
    divergence = functional.kl_div(student_log, teacher_log, log_target=True, reduction="sum")
    return divergence / outputs[..., 0].numel() * temperature**2
