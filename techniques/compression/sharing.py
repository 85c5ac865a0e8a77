"""Weight sharing: each layer's weights take one of a few values, which are trained on together."""

from __future__ import annotations

import torch
from torch.nn.utils import parametrize

from techniques.compression.context import Context
from techniques.compression.pruning import PRUNED_LAYERS
from techniques.parametrizations import make_plain
from techniques.registry import TechniqueError

_MAX_ROUNDS = 100


class Shared(torch.nn.Module):
    """Spreads a codebook (values,) over a weight of which each place has the number of a value."""

    numbers: torch.Tensor

    def __init__(self, numbers: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers)
        self._values = values

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the weight; its first value is 0, that of weights which were pruned, and stays so."""
        every = torch.cat([values.new_zeros(1), values])
        return every.index_select(0, self.numbers.flatten()).view_as(self.numbers)

    def right_inverse(self, _: torch.Tensor) -> torch.Tensor:
        """Return the codebook, for the weight that it was made of."""
        return self._values


def share_weights(model: torch.nn.Module, context: Context, *, bits: int) -> torch.nn.Module:
    """Cluster each layer's weights into 2^`bits` values by k-means; recover by training the values.

    Weights that are zero stay zero, as one value more. Numbers are still stored in fp32, so only the
    compressed file is smaller. Raises TechniqueError for a model without linear or convolution layers.
    Source: Han, Mao & Dally 2016, "Deep Compression" (arXiv:1510.00149), section 3.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, PRUNED_LAYERS)]
    if not layers:
        raise TechniqueError("share-weights found no linear or convolution layer in this model")
    make_plain(model)
    for layer in layers:
        weight = layer.weight.detach()
        kept = weight[weight != 0]
        if not len(kept):
            continue
        values = clusters(kept, 2**bits)
        numbers = torch.zeros_like(weight, dtype=torch.int32)
        numbers[weight != 0] = 1 + nearest(kept, values).int()
        parametrize.register_parametrization(layer, "weight", Shared(numbers, values), unsafe=True)
    context.note_quality("shared", model)
    context.recover(model)
    for layer in layers:
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model


def clusters(weights: torch.Tensor, count: int) -> torch.Tensor:
    """Return the means (at most `count`) of clusters of weights (n,), in ascending order, by k-means.

    They start evenly spaced from the least to the largest weight, so that large ones, which are few, keep a
    value near them (Han et al. 2016, section 3.2). Weights are sorted once: in one dimension clusters are
    ranges, and a round costs the clusters only.
    """
    ordered = weights.double().sort().values
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    means = torch.linspace(ordered[0].item(), ordered[-1].item(), count, dtype=torch.float64)
    for _ in range(_MAX_ROUNDS):
        inner = torch.searchsorted(ordered, (means[1:] + means[:-1]) / 2)
        edges = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), len(ordered))])
        sizes = edges.diff()
        filled = sizes > 0
        found = ((sums[edges[1:]] - sums[edges[:-1]])[filled]) / sizes[filled]
        if len(found) == len(means) and torch.equal(found, means):
            break
        means = found
    return means.to(weights.dtype).unique()


def nearest(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return the number of the value nearest to each weight (n,); values are in ascending order."""
    return torch.bucketize(weights, (values[1:] + values[:-1]) / 2)
