"""Quality of a classifier."""

from __future__ import annotations

import torch


def accuracy_and_recall(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return accuracy and macro recall of outputs (samples, classes) against class numbers (samples,).

    Macro recall averages over the classes that occur in the targets.
    """
    answers = outputs.argmax(dim=1)
    right = answers == targets
    classes = outputs.shape[1]
    of_class = torch.bincount(targets, minlength=classes)
    found = torch.bincount(targets[right], minlength=classes)
    occurring = of_class > 0
    recall = found[occurring].double() / of_class[occurring].double()
    return {"accuracy": right.double().mean().item(), "macro_recall": recall.mean().item()}
