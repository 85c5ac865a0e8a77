"""Quality of answers that are one class each."""

from __future__ import annotations

import torch

from bench.workloads.workload import Data


def accuracy_and_recall(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return accuracy and macro recall of outputs (samples, classes) against class numbers (samples,).

    Macro recall averages over the classes that occur in the targets.
    """
    accuracy = (outputs.argmax(dim=1) == targets).double().mean().item()
    return {"accuracy": accuracy, "macro_recall": class_recalls(outputs, targets).nanmean().item()}


def majority_class(data: Data) -> dict[str, float]:
    """Return the accuracy of always answering the most frequent class of the training set."""
    most = data.train_targets.mode().values
    return {"majority class": (data.test_targets == most).double().mean().item()}


def class_recalls(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the recall of each class, shape (classes,), float64; NaN for a class that does not occur."""
    right = outputs.argmax(dim=1) == targets
    classes = outputs.shape[1]
    of_class = torch.bincount(targets, minlength=classes)
    found = torch.bincount(targets[right], minlength=classes)
    return found.double() / of_class.double()


def flips(outputs: torch.Tensor, reference: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """Return the shares of samples that the reference had right and these have wrong, and the other way."""
    was_right = reference.argmax(dim=1) == targets
    is_right = outputs.argmax(dim=1) == targets
    return (was_right & ~is_right).double().mean().item(), (~was_right & is_right).double().mean().item()
