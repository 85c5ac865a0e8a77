"""Weights rounded to few bits ahead of a format, so that the format after it loses less, or nothing.

Nothing is trained: the steps look at calibration batches alone, layer by layer. Weights that an earlier step
set to zero stay zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn

from techniques.compression.context import Context
from techniques.compression.grids import Grid, Kind, ends
from techniques.compression.layers import grouped_layers
from techniques.compression.runs import see_inputs
from techniques.parametrizations import make_plain

PASSES = 6
"""How often calibration batches go through the model: before each, the layers ahead have been rounded."""

_DAMPING = 0.01
_SIGN_STEPS = 200

Choice = Callable[[torch.Tensor, torch.Tensor, Grid], torch.Tensor]
"""A rounded weight (outputs, inputs), from the weight and the sum of its inputs' outer products (inputs,
inputs) over the calibration samples."""


def round_to_nearest(model: nn.Module, context: Context, *, bits: int, group: int, grid: Kind) -> nn.Module:
    """Round each weight of linear layers to the nearest level of its group: what a format does by itself.

    `group` neighbouring inputs share a scale, all of an output if it is 0. For `grid` see `Grid`. Raises
    CannotApply where the group divides the inputs of no linear layer.
    """
    make_plain(model)
    with torch.no_grad():
        for layer in grouped_layers(model, context.example, group, "round-to-nearest", read=True):
            layer.weight.copy_(Grid(bits, group, grid).nearest(layer.weight))
    return model


def gptq(model: nn.Module, context: Context, *, bits: int, group: int, grid: Kind) -> nn.Module:
    """Round weights of linear layers input by input; the inputs that follow make up for each one's error.

    Arguments and errors as of `round_to_nearest`. Source: Frantar et al. 2023, "GPTQ: Accurate Post-Training
    Quantization for Generative Pre-trained Transformers" (arXiv:2210.17323).
    """
    return _round(model, context, Grid(bits, group, grid), gptq_rounded, "gptq")


def sign_round(model: nn.Module, context: Context, *, bits: int, group: int, grid: Kind) -> nn.Module:
    """Round weights of linear layers up or down as gradient descent by signs finds best for their outputs.

    The paper judges the outputs of a transformer's block, and learns the ranges too; this judges those of
    each layer, in any model, and keeps the ranges, which a format takes from the weights. Arguments and
    errors as of `round_to_nearest`. Source: Cheng et al. 2023, "Optimize Weight Rounding via Signed Gradient
    Descent for the Quantization of LLMs" (arXiv:2309.05516).
    """
    return _round(model, context, Grid(bits, group, grid), sign_rounded, "sign-round")


def gptq_rounded(weight: torch.Tensor, gram: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Return the weight of GPTQ; see `Choice`.

    The ends of each group stay ends, so that the format finds the same levels again.
    """
    factor = _inverse_factor(gram)
    left, kept = weight.to(torch.float64, copy=True), weight != 0
    rounded = torch.zeros_like(left)
    size = grid.size(weight.shape[1])
    for start in range(0, weight.shape[1], size):
        end = start + size
        block = left[:, start:end]
        errors = torch.zeros_like(block)
        given = block * kept[:, start:end]
        levels, fixed = grid.levels(given), ends(given)
        nearest = levels.nearest(given)
        for column in range(size):
            own, place = block[:, column], start + column
            chosen = levels.nearest(own[:, None])[:, 0]
            chosen = torch.where(fixed[:, column], nearest[:, column], chosen)
            rounded[:, place] = torch.where(kept[:, place], chosen, 0.0)
            errors[:, column] = (own - rounded[:, place]) / factor[place, place]
            block[:, column + 1 :] -= torch.outer(errors[:, column], factor[place, place + 1 : end])
        left[:, end:] -= errors @ factor[start:end, end:]
    return rounded.to(weight.dtype)


def sign_rounded(weight: torch.Tensor, gram: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Return the weight of SignRound; see `Choice`. No output of a layer is worse than by nearest levels."""
    groups = weight.unflatten(1, (-1, grid.size(weight.shape[1])))
    levels = grid.levels(groups)
    free = (~ends(groups) & (groups != 0)).to(weight.dtype)
    shift = torch.zeros_like(groups)
    best, least = weight, torch.full_like(weight[:, 0], torch.inf)
    for step in range(_SIGN_STEPS):
        rounded = levels.nearest(groups, shift).flatten(1)
        slope = (rounded - weight) @ gram
        loss = ((rounded - weight) * slope).sum(1)
        best = torch.where((loss < least)[:, None], rounded, best)
        least = torch.minimum(loss, least)
        rate = (1 - step / _SIGN_STEPS) / _SIGN_STEPS
        down = (slope.view_as(groups) * levels.scale).sign() * free
        shift = (shift - rate * down).clamp(-0.5, 0.5)
    return best


def input_grams(
    model: nn.Module, batches: Iterable[torch.Tensor], layers: Sequence[nn.Linear]
) -> dict[nn.Linear, torch.Tensor]:
    """Return for each layer the sum of its inputs' outer products (inputs, inputs) over all batches."""
    grams = {layer: layer.weight.new_zeros(layer.in_features, layer.in_features) for layer in layers}

    def note(layer: nn.Linear, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = inputs[0].detach().flatten(0, -2).to(grams[layer].dtype)
        grams[layer] += rows.T @ rows

    see_inputs(model, batches, layers, note)
    return grams


@torch.no_grad()
def _round(model: nn.Module, context: Context, grid: Grid, choose: Choice, step: str) -> nn.Module:
    make_plain(model)
    for part in _parts(grouped_layers(model, context.example, grid.group, step, read=True)):
        for layer, gram in input_grams(model, context.calibration(), part).items():
            layer.weight.copy_(choose(layer.weight.detach(), gram, grid))
    return model


def _parts(layers: list[nn.Linear]) -> Iterator[list[nn.Linear]]:
    """Yield the layers in their order, in at most `PASSES` parts of about the same number."""
    size = -(-len(layers) // PASSES)
    for start in range(0, len(layers), size):
        yield layers[start : start + size]


def _inverse_factor(gram: torch.Tensor) -> torch.Tensor:
    """Return the upper Cholesky factor of the damped gram's inverse (equation 3 and step 3 of the paper)."""
    damped = gram.to(torch.float64, copy=True)
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1.0  # inputs that were always zero
    diagonal += _DAMPING * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)
