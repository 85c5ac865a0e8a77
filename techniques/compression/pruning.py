"""Unstructured pruning: weights set to zero and held there while the rest recovers.

The layers keep their shapes, so dense kernels run no faster; only the compressed file gets smaller.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.utils import parametrize

from techniques.compression.context import Context
from techniques.parametrizations import make_plain
from techniques.registry import TechniqueError

PRUNED_LAYERS = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


class Mask(torch.nn.Module):
    """Multiplies a weight by a fixed 0/1 mask of its shape."""

    keep: torch.Tensor

    def __init__(self, keep: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the masked weight, of the same shape."""
        return weight * self.keep


def prune_mean(model: torch.nn.Module, context: Context, *, ratio: float) -> torch.nn.Module:
    """Per layer, drop weights whose magnitude is under `ratio` times the layer's mean magnitude, recover.

    Raises TechniqueError as `prune` does.
    """
    return prune(model, context, lambda weight: ~_under_mean(weight, ratio))


def prune_magnitude_as_mean(model: torch.nn.Module, context: Context, *, ratio: float) -> torch.nn.Module:
    """Drop as many weights of this model as `prune_mean` would, by `prune_magnitude`: the same share a layer.

    So the two rules can be compared at one sparsity, whatever the trained weights are.
    """
    weights = [layer.weight.detach() for layer in model.modules() if isinstance(layer, PRUNED_LAYERS)]
    dropped = sum(int(_under_mean(weight, ratio).sum()) for weight in weights)
    sparsity = dropped / max(1, sum(weight.numel() for weight in weights))
    return prune_magnitude(model, context, sparsity=sparsity)


def prune_magnitude(model: torch.nn.Module, context: Context, *, sparsity: float) -> torch.nn.Module:
    """Per layer, drop the `sparsity` share (0 to 1) of weights that are smallest in magnitude, recover.

    Raises TechniqueError as `prune` does. Source: Han et al. 2015, "Learning both Weights and Connections
    for Efficient Neural Networks".
    """

    def largest(weight: torch.Tensor) -> torch.Tensor:
        dropped = round(sparsity * weight.numel())
        order = weight.abs().flatten().argsort(stable=True)
        keep = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
        keep[order[:dropped]] = False
        return keep.view_as(weight)

    return prune(model, context, largest)


def _under_mean(weight: torch.Tensor, ratio: float) -> torch.Tensor:
    return weight.abs() < weight.abs().mean() * ratio


def prune(
    model: torch.nn.Module, context: Context, select: Callable[[torch.Tensor], torch.Tensor]
) -> torch.nn.Module:
    """Zero what `select` does not keep, train the rest with the mask held, and bake the mask in.

    `select` gives a bool mask of the weight's shape. Weights that an earlier step of the recipe dropped stay
    dropped; computed ones (weight norm) become plain. Raises TechniqueError for a model without linear or
    convolution layers.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, PRUNED_LAYERS)]
    if not layers:
        raise TechniqueError("pruning found no linear or convolution layer in this model")
    make_plain(model)
    for layer in layers:
        weight = layer.weight.detach()
        keep = select(weight) & (weight != 0)
        parametrize.register_parametrization(layer, "weight", Mask(keep))
    context.note_quality("pruned", model)
    context.recover(model)
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model
