"""Low rank: a layer's weight as the product of two smaller ones, which replace the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from techniques.compression import pruning
from techniques.compression.context import Context
from techniques.compression.layers import Layer, called_layers
from techniques.compression.runs import checked_shape
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply
from techniques.replacements import Factors

RankOf = Callable[[torch.Tensor], int]
"""The rank to keep of a matrix, from its singular values, largest first."""


def low_rank(model: nn.Module, context: Context, *, share: float, convolutions: str) -> nn.Module:
    """Replace each linear and convolution layer by two of `share` times its full rank; recover.

    A layer stays where two would have no fewer weights. Raises CannotApply where that holds of all. For
    `convolutions` see `factors`. Sources: Denton et al. 2014, "Exploiting Linear Structure Within
    Convolutional Networks" (arXiv:1404.0736); Jaderberg et al. 2014, "Speeding up Convolutional Neural
    Networks with Low Rank Expansions" (arXiv:1405.3866).
    """
    return _replace(
        model, context, "low-rank", convolutions, lambda values: max(1, round(share * len(values)))
    )


def low_rank_energy(model: nn.Module, context: Context, *, energy: float, convolutions: str) -> nn.Module:
    """Replace each linear and convolution layer by two of the least rank that keeps this share of its energy.

    The energy is the sum of the squared singular values. Otherwise as `low_rank`.
    """
    return _replace(
        model, context, "low-rank-energy", convolutions, lambda values: rank_of_energy(values, energy)
    )


def rank_of_energy(values: torch.Tensor, energy: float) -> int:
    """Return how many singular values (n,), largest first, have this share of the sum of all squares."""
    squares = values.double().square()
    kept = squares.cumsum(0)
    # The last sum is the whole, whatever rounding makes of a share of 1.
    return max(1, int((kept < energy * kept[-1] * (1 - 1e-12)).sum()) + 1)


def factors(layer: Layer, rank_of: RankOf, convolutions: str) -> Factors | None:
    """Return two layers whose product is the best one of this rank; None where they have no fewer weights.

    A convolution becomes, by `channel`, one with its kernel and as many outputs as the rank, and one without
    a kernel (Denton et al. 2014); by `spatial`, one over the rows of its kernel and one over the columns
    (Jaderberg et al. 2014).
    """
    matrix = _matrix(layer, convolutions)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = min(rank_of(values), len(values))
    if rank * sum(matrix.shape) >= matrix.numel():
        return None
    root = values[:rank].sqrt()
    return _factors(layer, right[:rank] * root[:, None], left[:, :rank] * root, convolutions)


def _matrix(layer: Layer, convolutions: str) -> torch.Tensor:
    """Return the weight as (outputs, inputs) of the two factors."""
    weight = layer.weight.detach()
    if isinstance(layer, nn.Conv2d) and convolutions == "spatial":
        return weight.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)  # (out × columns, in × rows)
    return weight.flatten(1)


@torch.no_grad()
def _factors(layer: Layer, first: torch.Tensor, second: torch.Tensor, convolutions: str) -> Factors:
    rank, bias = len(first), layer.bias is not None
    one: Layer
    two: Layer
    if isinstance(layer, nn.Linear):
        one = nn.Linear(layer.in_features, rank, bias=False)
        two = nn.Linear(rank, layer.out_features, bias=bias)
    elif isinstance(layer, nn.Conv2d) and convolutions == "spatial":
        (rows, columns), (down, along) = layer.kernel_size, layer.stride
        (above, beside), (far_down, far_along) = cast(tuple[int, int], layer.padding), layer.dilation
        one = nn.Conv2d(layer.in_channels, rank, (rows, 1), (down, 1), (above, 0), (far_down, 1), bias=False)
        two = nn.Conv2d(
            rank, layer.out_channels, (1, columns), (1, along), (0, beside), (1, far_along), bias=bias
        )
        second = second.view(layer.out_channels, columns, rank).permute(0, 2, 1)
    else:
        kind = type(layer)
        one = kind(
            layer.in_channels,
            rank,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            bias=False,
        )
        two = kind(rank, layer.out_channels, 1, bias=bias)
    one.weight.copy_(first.reshape(one.weight.shape))
    two.weight.copy_(second.reshape(two.weight.shape))
    if two.bias is not None:
        two.bias.copy_(cast(torch.Tensor, layer.bias))
    return Factors(one, two).train(layer.training)


def _replace(model: nn.Module, context: Context, step: str, convolutions: str, rank_of: RankOf) -> nn.Module:
    make_plain(model)
    with checked_shape(model, context, step):
        replaced = 0
        for name, layer in called_layers(model, context.example).items():
            found = factors(layer, rank_of, convolutions)
            if found is not None:
                model.set_submodule(name, found)
                replaced += 1
    if not replaced:
        raise CannotApply(f"{step}: no layer would have fewer weights as two of this rank")
    context.note_quality("factored", model)
    pruning.recover(model, context)
    return model
