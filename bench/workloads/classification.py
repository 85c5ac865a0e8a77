"""Quality of answers that are one class each."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.errors import StageError
from bench.workloads.workload import Data

IGNORED = -100
"""The class number of samples that do not count, as in PyTorch's cross-entropy."""


def accuracy_and_recall(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return accuracy and macro recall of outputs (samples, classes, ...) against class numbers.

    Targets are of shape (samples, ...), or one-hot of the outputs' shape. Class number -100 does not count;
    macro recall averages over the classes that occur in the targets. Raises StageError for outputs that are
    no scores of classes.
    """
    if outputs.dim() < 2 or outputs.shape[1] < 2:
        raise StageError(
            f"accuracy_and_recall takes scores (samples, classes), got outputs of shape {_shape(outputs)}; "
            "binary_accuracy takes one number for each sample"
        )
    if targets.shape == outputs.shape:
        targets = targets.argmax(dim=1)
    if targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        raise StageError(f"targets of shape {_shape(targets)} do not fit outputs of shape {_shape(outputs)}")
    found = outputs.argmax(dim=1)
    counted = targets != IGNORED
    accuracy = (found == targets)[counted].double().mean().item()
    recalls = class_recalls(found, targets, outputs.shape[1])
    return {"accuracy": accuracy, "macro_recall": recalls.nanmean().item()}


def binary_accuracy(threshold: float) -> Callable[[torch.Tensor, torch.Tensor], dict[str, float]]:
    """Return a quality of one number for each sample, (samples,) or (samples, 1), and targets 0 or 1.

    `threshold` is 0.5 of probabilities, 0 of logits.
    """

    def quality(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
        if outputs.numel() != targets.numel():
            raise StageError(
                f"binary_accuracy takes one number for each target, got outputs of shape {_shape(outputs)} "
                f"for targets of shape {_shape(targets)}"
            )
        found, right = (outputs.flatten() > threshold).long(), targets.flatten().long()
        accuracy = (found == right).double().mean().item()
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
    """Return the recall of each class, shape (classes,), float64; NaN for a class that does not occur."""
    counted = targets != IGNORED
    answers, targets = answers[counted].flatten(), targets[counted].flatten()
    of_class = torch.bincount(targets, minlength=classes)
    found = torch.bincount(targets[answers == targets], minlength=classes)
    return found.double() / of_class.double()


def flips(answers: torch.Tensor, before: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """Return the shares of samples that were right before and are wrong now, and the other way."""
    counted = targets != IGNORED
    was_right, is_right = (before == targets)[counted], (answers == targets)[counted]
    return (was_right & ~is_right).double().mean().item(), (~was_right & is_right).double().mean().item()
