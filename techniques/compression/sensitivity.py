"""How far a model's outputs move where single layers are rounded or pruned, and which a format should leave.

Rounding is simulated in floats, by the same rule for every backend, so that all leave the same layers out.
NNCF's `quantize_with_accuracy_control` would search one runtime's own quantized model, and serve that only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from techniques.compression.criteria import best_each
from techniques.compression.grids import Grid
from techniques.layers import covers, layers_of
from techniques.outputs import parts, widened
from techniques.registry import CannotApply

GROUP = 32
"""Neighbouring inputs that share a scale of a 4-bit weight."""

_E4M3_LARGEST = 448.0

Change = Callable[[torch.Tensor], torch.Tensor]
"""What a weight (outputs, inputs, ...) or a batch of activations becomes."""


def rounded_weight(weight: torch.Tensor, bits: int, group: int = 0) -> torch.Tensor:
    """Round a weight (outputs, inputs, ...) to so many bits, with a scale for each output.

    With a `group` that divides the inputs, with a scale for so many neighbouring inputs.
    """
    rows = weight.flatten(1)
    own = group if group and rows.shape[1] % group == 0 else 0
    return Grid(bits, own, "narrow").nearest(rows).view_as(weight)


def rounded_batch(batch: torch.Tensor, bits: int = 8) -> torch.Tensor:
    """Round activations to so many bits, between their least and largest number and 0, which is a level."""
    if not batch.is_floating_point():
        return batch
    return Grid(bits, 0, "affine").nearest(batch.reshape(1, -1)).view_as(batch)


def in_float8(numbers: torch.Tensor) -> torch.Tensor:
    """Round numbers to e4m3, scaled so that the largest is its largest (Micikevicius et al. 2022)."""
    scale = (numbers.abs().amax() / _E4M3_LARGEST).clamp(min=torch.finfo(numbers.dtype).tiny)
    return (numbers / scale).to(torch.float8_e4m3fn).to(numbers.dtype) * scale


def pruned_weight(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Set this share of a weight's numbers to 0, the smallest ones; of equally small ones the first."""
    (keep,) = best_each([weight.abs()], sparsity)
    return torch.where(keep, weight, 0)


_ROUNDED: dict[str, tuple[Change, Change | None]] = {
    "int8-static": (lambda weight: rounded_weight(weight, 8), rounded_batch),
    "int8-dynamic": (lambda weight: rounded_weight(weight, 8), rounded_batch),
    "int8-weight": (lambda weight: rounded_weight(weight, 8), None),
    "int4-weight": (lambda weight: rounded_weight(weight, 4, GROUP), None),
    "fp8": (in_float8, in_float8),
}
"""What each format does to weights and to activations."""


@contextmanager
def changed(layers: Iterable[nn.Module], weights: Change, inputs: Change | None = None) -> Iterator[None]:
    """Change the weights of layers, and the batches that they are given, while inside."""
    own = [(layer, cast(torch.Tensor, layer.weight).data) for layer in layers]
    hooks = [layer.register_forward_pre_hook(_before(inputs)) for layer, _ in own if inputs is not None]
    try:
        for layer, weight in own:
            cast(torch.Tensor, layer.weight).data = weights(weight)
        yield
    finally:
        for layer, weight in own:
            cast(torch.Tensor, layer.weight).data = weight
        for hook in hooks:
            hook.remove()


def _before(change: Change) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    return lambda module, arguments: (change(arguments[0]), *arguments[1:])


def most_sensitive(
    model: nn.Module,
    batches: Sequence[torch.Tensor],
    format_: str,
    bound: float,
    kept: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the layers to leave out of a format, so that the outputs' relative error is within `bound`.

    Layers are ranked by the error that each makes alone on the batches (samples, ...); the fewest of the most
    sensitive ones are left out, found by halving. Those in modules that are `kept` stay out anyway. The
    model's weights are plain. Raises CannotApply for a format whose rounding is unknown, and where every
    layer would have to stay. Source: Dong et al. 2019, "HAWQ" (arXiv:1905.03696), who rank layers by
    curvature instead.
    """
    if format_ not in _ROUNDED:
        raise CannotApply(f"mixed: rounding by {format_} is not simulated here; name layers with keep")
    layers = {name: layer for name, layer in layers_of(model).items() if not covers(kept, name)}
    model.eval()
    reference = first_outputs(model, batches)

    def error(names: Iterable[str]) -> float:
        with changed([layers[name] for name in names], *_ROUNDED[format_]):
            return relative_error(first_outputs(model, batches), reference)

    if error(layers) <= bound:
        return ()
    ranked = sorted(layers, key=lambda name: -error([name]))
    too_few, enough = 0, len(ranked)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if error(ranked[middle:]) <= bound else (middle, enough)
    if enough == len(ranked):
        raise CannotApply(
            f"mixed: with any layer in {format_} the relative error is above {bound:g}; raise the bound"
        )
    left_out = set(ranked[:enough])
    return tuple(name for name in layers if name in left_out)


@torch.no_grad()
def first_outputs(model: nn.Module, batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the first output of a model for each batch, as one vector of floats."""
    outputs = (next(iter(parts(model(batch.clone()))[0].values())) for batch in batches)
    return torch.cat([widened(output).float().flatten() for output in outputs])


def relative_error(outputs: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the norm of the difference over that of the reference, of the numbers that are finite in it."""
    known = reference.isfinite()
    difference = (outputs[known] - reference[known]).norm()
    return float(difference / reference[known].norm().clamp(min=torch.finfo(torch.float32).tiny))
