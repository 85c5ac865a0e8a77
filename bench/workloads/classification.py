"""Quality of answers that are one class each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from bench.errors import StageError
from bench.workloads.output_kinds import best_class, yes_or_no

if TYPE_CHECKING:
    from bench.workloads.workload import Data

IGNORED = -100
"""The class number of samples that do not count, as in PyTorch's cross-entropy."""
_ROUNDING = 1e-3
"""How far shares of classes may be from 1 together, where they are half-precision numbers."""


def accuracy_and_recall(
    outputs: torch.Tensor, targets: torch.Tensor, *, axis: int | None = None
) -> dict[str, float]:
    """Return accuracy and macro recall of outputs (samples, classes, ...) against class numbers.

    Targets are of the outputs' shape without the classes, or one-hot of all of it. The classes are on `axis`,
    by default the only one that the targets lack. Class number -100 does not count, scores of NaN are wrong;
    macro recall averages over the classes that occur in the targets. Raises StageError for outputs that are
    no scores of classes, targets that do not number them, and where two axes could be that of the classes.
    """
    if outputs.dim() < 2 or (outputs.dim() == 2 and outputs.shape[1] < 2):
        raise StageError(
            f"accuracy_and_recall takes scores (samples, classes), got outputs of shape {_shape(outputs)}; "
            "binary_accuracy takes one number for each sample"
        )
    if targets.shape == outputs.shape:
        axis = _only(one_hot_axes(targets), outputs, targets, axis)
        targets = targets.argmax(dim=axis)
    else:
        axis = _only(class_axes(outputs, targets), outputs, targets, axis)
    numbers = class_numbers(targets, outputs.shape[axis])
    found = best_class(outputs, axis)
    accuracy = (found == numbers)[numbers != IGNORED].double().mean().item()
    recalls = class_recalls(found, numbers, outputs.shape[axis])
    return {"accuracy": accuracy, "macro_recall": recalls.nanmean().item()}


def class_axes(outputs: torch.Tensor, targets: torch.Tensor) -> list[int]:
    """Return the axes of outputs that targets lack, each of which may be that of the classes."""
    shape = outputs.shape
    axes = range(1, outputs.dim())
    return [axis for axis in axes if shape[axis] > 1 and shape[:axis] + shape[axis + 1 :] == targets.shape]


def one_hot_axes(targets: torch.Tensor) -> list[int]:
    """Return the axes on which targets (samples, ...) are shares of classes: none below 0, together 1."""
    if targets.is_complex() or bool((targets < 0).any()):
        return []
    axes = (axis for axis in range(1, targets.dim()) if targets.shape[axis] > 1)
    return [axis for axis in axes if bool(((targets.double().sum(dim=axis) - 1).abs() < _ROUNDING).all())]


def class_numbers(targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Return targets, of any shape, as int64.

    Raises StageError where they are neither classes, 0 to `classes` - 1, nor -100.
    """
    numbers = targets.double()
    right = (numbers >= 0) & (numbers < classes) & (numbers == numbers.round())
    _refuse(targets, ~(right | (numbers == IGNORED)), f"classes are numbered 0 to {classes - 1}")
    return targets.long()


def yes_or_no_targets(targets: torch.Tensor) -> torch.Tensor:
    """Return targets as 1 from 0.5 on, else 0, or -100; raises StageError for those outside of 0 to 1."""
    numbers = targets.double()  # -100 is 156 to unsigned bytes
    ignored = numbers == IGNORED
    _refuse(targets, ~(((numbers >= 0) & (numbers <= 1)) | ignored), "no is 0 and yes is 1")
    return (numbers >= 0.5).long().masked_fill(ignored, IGNORED)


def _refuse(targets: torch.Tensor, wrong: torch.Tensor, right: str) -> None:
    if not wrong.any():
        return
    sample, first = int(wrong.nonzero()[0, 0]), targets[wrong][0].item()
    count = f"{int(wrong.sum()):,} of {wrong.numel():,} targets"
    raise StageError(
        f"{count} are wrong, the first is {first:g} of sample {sample}: "
        f"{right}, and {IGNORED} is a target that does not count"
    )


def _only(axes: list[int], outputs: torch.Tensor, targets: torch.Tensor, asked: int | None) -> int:
    """Return the axis that was asked for, else the only one that fits; raises StageError."""
    if asked is not None:
        axes = [axis for axis in axes if axis == asked % outputs.dim()]
    if len(axes) == 1:
        return axes[0]
    shapes = f"targets of shape {_shape(targets)} {{}} outputs of shape {_shape(outputs)}"
    if axes:
        raise StageError(
            f"{shapes.format('fit')} with the classes on axis {' or '.join(map(str, axes))}: add "
            'outputs="scores:AXIS" to the Workload, or quality=partial(accuracy_and_recall, axis=AXIS)'
        )
    hint = ""
    if targets.shape == outputs.shape:
        hint = ": one-hot ones are 0 for each class but one, which is 1"
    elif targets.numel() == outputs.numel():
        hint = "; binary_accuracy takes one number for each target"
    raise StageError(f"{shapes.format('do not fit')}{hint}")


def binary_accuracy(threshold: float) -> Callable[[torch.Tensor, torch.Tensor], dict[str, float]]:
    """Return a quality of one number for each sample, (samples,) or (samples, 1), and targets 0 or 1.

    `threshold` is 0.5 of probabilities, 0 of logits. Targets between are yes from 0.5 on, -100 does not
    count, and outputs of NaN are wrong. It returns accuracy and macro recall, and raises StageError for other
    targets and where outputs are not one for each.
    """

    def quality(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        if outputs.numel() != targets.numel():
            raise StageError(
                f"binary_accuracy takes one number for each target, got outputs of shape {_shape(outputs)} "
                f"for targets of shape {_shape(targets)}"
            )
        found, right = yes_or_no(outputs.flatten(), threshold), yes_or_no_targets(targets).flatten()
        accuracy = (found == right)[right != IGNORED].double().mean().item()
        return {"accuracy": accuracy, "macro_recall": class_recalls(found, right, 2).nanmean().item()}

    return quality


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def majority_class(data: Data) -> dict[str, float]:
    """Return the accuracy of always answering the most frequent class of the training set."""
    most = data.train_targets[data.train_targets != IGNORED].mode().values
    counted = data.test_targets != IGNORED
    return {"majority class": (data.test_targets == most)[counted].double().mean().item()}


def class_recalls(answers: torch.Tensor, targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the recall of each class, shape (classes,), float64; NaN for a class that does not occur.

    Answers and targets are class numbers of one shape; targets of -100 do not count.
    """
    counted = targets != IGNORED
    answers, targets = answers[counted].flatten(), targets[counted].flatten()
    of_class = torch.bincount(targets, minlength=classes)
    found = torch.bincount(targets[answers == targets], minlength=classes)
    return found.double() / of_class.double()


def flips(answers: torch.Tensor, before: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """Return the shares of samples that were right before and are wrong now, and the other way.

    All three are class numbers of one shape; targets of -100 do not count.
    """
    counted = targets != IGNORED
    was_right, is_right = (before == targets)[counted], (answers == targets)[counted]
    return (was_right & ~is_right).double().mean().item(), (~was_right & is_right).double().mean().item()
