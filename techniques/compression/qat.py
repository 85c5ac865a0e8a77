"""Quantization-aware training: the recovery sees the numbers that a format will leave."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from techniques.compression import pruning
from techniques.compression.context import Context
from techniques.compression.grids import Grid, Kind
from techniques.compression.layers import grouped_layers
from techniques.parametrizations import make_plain


class OnGrid(nn.Module):
    """Rounds a weight to its grid going forward; gradients pass as if it did not (Bengio et al. 2013)."""

    config = None  # torchao looks whether it is one of its own

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the rounded weight (outputs, inputs)."""
        return weight + (self.grid.nearest(weight.detach()) - weight).detach()


def qat(
    model: nn.Module,
    context: Context,
    *,
    bits: int,
    group: int,
    grid: Kind,
    activations: Literal["float", "int8"],
) -> nn.Module:
    """Train linear layers with their weights rounded at each step, then round them for good.

    `group` and `grid` as of `Grid`. With `activations` in int8, inputs of these layers are rounded too while
    training, each token by a scale and an offset of its own. The quality noted before the training is that of
    the rounded weights. Raises CannotApply where the group divides the inputs of no linear layer. Sources:
    Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference" (arXiv:1712.05877); torchao's `QATConfig`.
    """
    from torchao.quantization import quantize_
    from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig
    from torchao.quantization.qat.linear import FakeQuantizedLinear

    make_plain(model)
    layers = set(grouped_layers(model, context.example, group, "qat"))
    by_token = IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False)
    by_output = IntxFakeQuantizeConfig(torch.int8, "per_channel")
    config = QATConfig(activation_config=by_token if activations == "int8" else None, weight_config=by_output)
    quantize_(model, config, lambda module, _: module in layers)
    trained: list[Any] = [each for each in model.modules() if isinstance(each, FakeQuantizedLinear)]
    for layer in trained:
        # torchao's own weights (0.18) lie on grids that only its kernels have, without 0 for pruned ones.
        layer.weight_fake_quantizer = OnGrid(Grid(bits, group, grid))
    context.note_quality("rounded", model)
    pruning.recover(model, context)
    with torch.no_grad():
        for layer in trained:
            layer.weight.copy_(Grid(bits, group, grid).nearest(layer.weight))
    quantize_(model, QATConfig(step="convert"), lambda module, _: isinstance(module, FakeQuantizedLinear))
    return model
