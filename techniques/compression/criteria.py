"""What decides which weights go: scores of the weights of layers, and which of them are the best.

Scores are tensors of the weights' shapes, one a layer; the higher, the more a weight is worth. Weights that
are zero have the lowest score of all, so that the share that is dropped includes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch

from techniques.compression.context import Context
from techniques.compression.runs import see_inputs

Layers = Sequence[torch.nn.Module]
Scores = list[torch.Tensor]
Masks = list[torch.Tensor]
"""For each layer, where its weight is kept: bool, of the weight's shape."""


def magnitude(layers: Layers) -> Scores:
    """Score by |weight|."""
    return [weight.abs() for weight in weights_of(layers)]


def lots(layers: Layers, seed: int) -> Scores:
    """Score by lot: the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return _zeros_last(
        layers, (torch.rand(weight.shape, generator=generator) for weight in weights_of(layers))
    )


def taylor(model: torch.nn.Module, context: Context, layers: Layers) -> Scores:
    """Score by the mean over calibration batches of (weight × gradient of the batch's loss)²."""
    weights = weights_of(layers)
    scores = [torch.zeros_like(weight) for weight in weights]
    for gradients in gradients_of(model, context, layers):
        for score, weight, gradient in zip(scores, weights, gradients, strict=True):
            score += (weight * gradient).square()
    return _zeros_last(layers, scores)


def snip(model: torch.nn.Module, context: Context, layers: Layers) -> Scores:
    """Score by |weight × gradient of the loss over all calibration batches|."""
    weights = weights_of(layers)
    sums = [torch.zeros_like(weight) for weight in weights]
    for gradients in gradients_of(model, context, layers):
        for total, gradient in zip(sums, gradients, strict=True):
            total += gradient
    found = ((weight * total).abs() for weight, total in zip(weights, sums, strict=True))
    return _zeros_last(layers, found)


def wanda(model: torch.nn.Module, context: Context, layers: Layers) -> Scores:
    """Score by |weight| × the L2 norm of its input over calibration batches.

    A convolution's input is the channel. A layer that is not called itself, since another module reads its
    weight, is scored by |weight|.
    """
    norms = input_norms(model, context.calibration(), layers)
    found = (
        weight.abs() if norm is None else weight.abs() * _of_weights(norm, layer, weight)
        for layer, weight, norm in zip(layers, weights_of(layers), norms, strict=True)
    )
    return _zeros_last(layers, found)


def best_each(scores: Scores, dropped: float) -> Masks:
    """Keep the best of each layer, all but the `dropped` share."""
    return [_best(score.flatten()[None], dropped).view_as(score) for score in scores]


def best_of_rows(scores: Scores, dropped: float) -> Masks:
    """Keep the best of the weights of each output of a layer, all but the `dropped` share."""
    return [_best(score.flatten(1), dropped).view_as(score) for score in scores]


def best_of_all(scores: Scores, dropped: float) -> Masks:
    """Keep the best of all layers together, all but the `dropped` share."""
    together = torch.cat([score.flatten() for score in scores])
    pieces = _best(together[None], dropped)[0].split([score.numel() for score in scores])
    return [piece.view_as(score) for piece, score in zip(pieces, scores, strict=True)]


def two_of_four(scores: Scores) -> Masks:
    """Keep the best two of each four neighbouring inputs; all of a layer without a multiple of four."""
    return [_two_of_four(score) if score.shape[1] % 4 == 0 else score >= 0 for score in scores]


def gradients_of(model: torch.nn.Module, context: Context, layers: Layers) -> Iterator[list[torch.Tensor]]:
    """Yield for each calibration batch the gradients of the workload's loss, of the layers' weights."""
    weights = [cast(torch.Tensor, layer.weight) for layer in layers]
    frozen = [weight for weight in weights if not weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_(True)
    try:
        for loss in context.losses(model):
            yield list(torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True))
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


@torch.no_grad()
def input_norms(
    model: torch.nn.Module, batches: Iterable[torch.Tensor], layers: Layers
) -> list[torch.Tensor | None]:
    """Return the L2 norm (inputs,) of each layer's inputs over batches; None of a layer not called."""
    squares: dict[torch.nn.Module, torch.Tensor] = {}

    def note(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        axis = -1 if isinstance(layer, torch.nn.Linear) else 1
        found = inputs[0].detach().movedim(axis, -1).flatten(0, -2).double().square().sum(0)
        squares[layer] = squares.get(layer, torch.zeros_like(found)) + found

    see_inputs(model, batches, layers, note)
    return [squares[layer].sqrt() if layer in squares else None for layer in layers]


def _of_weights(norms: torch.Tensor, layer: torch.nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """Return the norm (outputs, inputs of a group, 1, ...) of the input that each weight multiplies."""
    groups = cast(int, getattr(layer, "groups", 1))
    of_groups = norms.to(weight.dtype).view(groups, -1)
    rows = of_groups.repeat_interleave(len(weight) // groups, dim=0)
    return rows.view(*rows.shape, *[1] * (weight.dim() - 2))


def _two_of_four(score: torch.Tensor) -> torch.Tensor:
    fours = score.movedim(1, -1).unflatten(-1, (-1, 4))
    keep = torch.ones_like(fours, dtype=torch.bool)
    keep.scatter_(-1, fours.argsort(dim=-1, stable=True)[..., :2], False)
    return keep.flatten(-2).movedim(-1, 1)


def _best(rows: torch.Tensor, dropped: float) -> torch.Tensor:
    """Return where the best of each row of scores (rows, n) are, all but round(`dropped` × n) of them."""
    order = rows.argsort(dim=1, stable=True)[:, : round(dropped * rows.shape[1])]
    return torch.ones_like(rows, dtype=torch.bool).scatter_(1, order, False)


def weights_of(layers: Layers) -> list[torch.Tensor]:
    """Return the layers' weights, without gradients."""
    return [cast(torch.Tensor, layer.weight).detach() for layer in layers]


def _zeros_last(layers: Layers, scores: Iterable[torch.Tensor]) -> Scores:
    return [
        torch.where(weight == 0, -math.inf, score)
        for weight, score in zip(weights_of(layers), scores, strict=True)
    ]
