"""Unstructured pruning: weights set to zero and held there while the rest recovers.

The layers keep their shapes, so dense kernels run no faster; only the compressed file gets smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch.nn.utils import parametrize

from techniques.compression import criteria
from techniques.compression.context import Context
from techniques.compression.criteria import Layers, Masks, weights_of
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
    return prune(
        model, context, lambda layers: [~_under_mean(weight, ratio) for weight in weights_of(layers)]
    )


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
    return prune(model, context, partial(_largest, share=sparsity))


def prune_global(model: torch.nn.Module, context: Context, *, sparsity: float) -> torch.nn.Module:
    """Drop the `sparsity` share of weights that are smallest in magnitude, over all layers together, recover.

    Layers lose unequal shares, some perhaps all. Raises TechniqueError as `prune` does. Source: Blalock et
    al. 2020, "What is the State of Neural Network Pruning?" (arXiv:2003.03033), section 7.
    """
    return prune(model, context, lambda layers: criteria.best_of_all(criteria.magnitude(layers), sparsity))


def prune_random(model: torch.nn.Module, context: Context, *, sparsity: float) -> torch.nn.Module:
    """Per layer, drop the `sparsity` share of weights by lot, recover: what any criterion must beat.

    The same weights go for the same seed. Raises TechniqueError as `prune` does.
    """

    def choose(layers: Layers) -> Masks:
        return criteria.best_each(criteria.lots(layers, context.seed), sparsity)

    return prune(model, context, choose)


def prune_taylor(model: torch.nn.Module, context: Context, *, sparsity: float) -> torch.nn.Module:
    """Drop the `sparsity` share of weights, over all layers, whose loss counts them least, recover.

    A weight's score is the mean of (weight × gradient)² over calibration batches: by how much the loss of a
    batch would change without it, to first order. Raises TechniqueError as `prune` does. Source: Molchanov et
    al. 2019, "Importance Estimation for Neural Network Pruning" (arXiv:1906.10771), equation 8.
    """
    return prune(
        model, context, lambda layers: criteria.best_of_all(criteria.taylor(model, context, layers), sparsity)
    )


def prune_snip(model: torch.nn.Module, context: Context, *, sparsity: float) -> torch.nn.Module:
    """Drop the `sparsity` share of weights, over all layers, of least |weight × gradient|, recover.

    The gradient is that of the loss over all calibration batches. The paper takes it at initialisation and
    trains what is left. Here it is taken of the trained model, where this gradient is nearly zero and says
    less; `prune_taylor` squares before it averages and does not suffer from that. Raises TechniqueError as
    `prune` does. Source: Lee et al. 2019, "SNIP: Single-shot Network Pruning" (arXiv:1810.02340).
    """
    return prune(
        model, context, lambda layers: criteria.best_of_all(criteria.snip(model, context, layers), sparsity)
    )


def prune_wanda(model: torch.nn.Module, context: Context, *, sparsity: float) -> torch.nn.Module:
    """Of each output's weights drop the `sparsity` share of least |weight| × norm of its inputs, recover.

    Norms are over calibration batches; a convolution's are those of its input channels. The paper does not
    recover; the quality before recovery is noted. Raises TechniqueError as `prune` does. Source: Sun et al.
    2023, "A Simple and Effective Pruning Approach for Large Language Models" (arXiv:2306.11695).
    """
    return prune(
        model, context, lambda layers: criteria.best_of_rows(criteria.wanda(model, context, layers), sparsity)
    )


def prune_two_of_four(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """Of each four weights of neighbouring inputs keep the two largest in magnitude, recover.

    Layers whose number of inputs (of one group) is not a multiple of four stay dense. Raises TechniqueError
    as `prune` does, and where that leaves no layer. Source: Mishra et al. 2021, "Accelerating Sparse Deep
    Neural Networks" (arXiv:2104.08378).
    """
    if not any(weight.shape[1] % 4 == 0 for weight in weights_of(_layers(model))):
        raise TechniqueError("prune-2-4: no linear or convolution layer has a multiple of four inputs")
    return prune(model, context, lambda layers: criteria.two_of_four(criteria.magnitude(layers)))


def prune_gradual(
    model: torch.nn.Module, context: Context, *, sparsity: float, rounds: int
) -> torch.nn.Module:
    """Prune by `prune_magnitude` in rounds of growing sparsity, and recover a share of the budget after each.

    All rounds together recover for as many steps as one step does at once. Raises TechniqueError as `prune`
    does. Source: Zhu & Gupta 2017, "To prune, or not to prune" (arXiv:1710.01878).
    """
    for number in range(rounds):
        choose = partial(_largest, share=cubic(sparsity, (number + 1) / rounds))
        _prune_once(model, context, choose, number, rounds)
    return model


def cubic(sparsity: float, progress: float) -> float:
    """Return the sparsity at a `progress` from 0 to 1 on the way to the final `sparsity`.

    It rises fast at first, where many weights are redundant (Zhu & Gupta 2017, equation 1).
    """
    return sparsity - sparsity * (1 - progress) ** 3


def prune(model: torch.nn.Module, context: Context, choose: Callable[[Layers], Masks]) -> torch.nn.Module:
    """Zero what `choose` does not keep, train the rest with the masks held, and bake them in.

    `choose` gives a mask for each layer. Weights that an earlier step of the recipe dropped stay dropped;
    computed ones (weight norm) become plain. Raises TechniqueError for a model without linear or convolution
    layers.
    """
    return _prune_once(model, context, choose, 0, 1)


def recover(model: torch.nn.Module, context: Context) -> None:
    """Train the model in place to recover; weights that earlier steps of the recipe set to zero stay zero."""
    weights = {layer: layer.weight for layer in model.modules() if isinstance(layer, PRUNED_LAYERS)}
    plain = {layer: weight for layer, weight in weights.items() if isinstance(weight, torch.nn.Parameter)}
    with held({layer: weight != 0 for layer, weight in plain.items() if (weight == 0).any()}):
        context.recover(model)


@contextmanager
def held(masks: Mapping[torch.nn.Module, torch.Tensor]) -> Iterator[None]:
    """Hold layers' weights at zero wherever their masks are false, within the context; then bake that in."""
    for layer, keep in masks.items():
        parametrize.register_parametrization(layer, "weight", Mask(keep))
    try:
        yield
    finally:
        for layer in masks:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def _prune_once(
    model: torch.nn.Module, context: Context, choose: Callable[[Layers], Masks], part: int, parts: int
) -> torch.nn.Module:
    layers = _layers(model)
    make_plain(model)
    masks = choose(layers)
    kept = [keep & (weight != 0) for keep, weight in zip(masks, weights_of(layers), strict=True)]
    with held(dict(zip(layers, kept, strict=True))):
        if part == parts - 1:
            context.note_quality("pruned", model)
        context.recover(model, part, parts)
    return model


def _layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    layers = [layer for layer in model.modules() if isinstance(layer, PRUNED_LAYERS)]
    if not layers:
        raise TechniqueError("pruning found no linear or convolution layer in this model")
    return list(layers)


def _largest(layers: Layers, share: float) -> Masks:
    return criteria.best_each(criteria.magnitude(layers), share)


def _under_mean(weight: torch.Tensor, ratio: float) -> torch.Tensor:
    return weight.abs() < weight.abs().mean() * ratio
