"""What steps of training in other frameworks have in common: what they refuse, the loss, what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from techniques.backends.frameworks.exported import Exported
from techniques.backends.frameworks.weights import Layout
from techniques.backends.training import Loss
from techniques.registry import CannotApply

COUNTERS = "num_batches_tracked"
"""Buffers that count batches, which frameworks do not have: they are counted here."""

_LABELLED = ("aten.cross_entropy_loss.default", "aten.one_hot.default")


class _LossModule(torch.nn.Module):
    """A loss, as a module that can be exported."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss = loss

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss, a tensor without dimensions."""
        return self._loss(outputs, targets)


def exported_step(
    model: torch.nn.Module, loss: Loss, batch: torch.Tensor, targets: torch.Tensor
) -> tuple[Exported, Exported]:
    """Return a model as it is trained, and its loss, for batches of this shape; neither is called with data.

    Raises CannotApply as `Exported` does.
    """
    was = model.training
    model.train()
    try:
        exported = Exported(model, (batch,), "the model")
    finally:
        model.train(was)
    outputs = torch.zeros(exported.output_shape, dtype=exported.output_type)
    return exported, Exported(_LossModule(loss), (outputs, targets), "the loss")


def refuse_left_out(loss: Exported, targets: Iterable[torch.Tensor]) -> None:
    """Raise CannotApply where targets say that a place does not count, by a number below 0.

    Frameworks have no such numbers: what they make of one is undefined.
    """
    if not loss.operators.intersection(_LABELLED):
        return
    if any(not each.is_floating_point() and bool((each < 0).any()) for each in targets):
        raise CannotApply("targets below 0, which leave places out of the loss, have no counterpart here")


@torch.no_grad()
def write_weights(model: torch.nn.Module, arrays: Mapping[str, tuple[Any, Layout]], batches: int) -> None:
    """Copy a framework's weights into the model; add `batches` to what it has counted in training."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name in arrays:
            array, layout = arrays[name]
            tensor.copy_(layout.taken(array))
        elif name.endswith(COUNTERS):
            tensor += batches
