"""LoRA: a recovery that trains a few weights beside each layer's own, and adds them to it afterwards."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from techniques.compression.context import Context
from techniques.compression.layers import called_layers
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply

_ADAPTER = "default"


def lora(model: nn.Module, context: Context, *, rank: int, alpha: float) -> nn.Module:
    """Train adapters of this rank beside linear and convolution layers for the recovery budget, and merge
    them.

    All other weights stay as they are while the adapters train. An adapter's product counts alpha / rank.
    Weights that earlier steps of the recipe set to zero stay zero: their part of the product is masked while
    it trains, and when it is merged. Raises CannotApply for a model without such layers. Sources: Hu et al.
    2022, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685), by peft; the mask: Muñoz et
    al. 2024, "SQFT: Low-cost Model Adaptation in Low-precision Sparse Foundation Models" (arXiv:2410.03750).
    """
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    make_plain(model)
    names = list(called_layers(model, context.example))
    if not names:
        raise CannotApply("lora: the model has no linear or convolution layer of its own")
    trained = {parameter: parameter.requires_grad for parameter in model.parameters()}
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="|".join(map(re.escape, names)))
    config._register_custom_module(_holding_zeros())
    torch.manual_seed(context.seed)
    adapted = LoraModel(model, config, _ADAPTER)
    context.recover(model)
    adapted.merge_and_unload()
    for parameter, required in trained.items():
        parameter.requires_grad_(required)
    return model


def _holding_zeros() -> dict[type[nn.Module], type[nn.Module]]:
    """Return peft's adapters of layers, each of which leaves weights that are zero at zero."""
    from peft.tuners.lora.layer import Conv1d, Conv2d, Linear

    class HoldsZeros:
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            own: Any = self
            keep = own.get_base_layer().weight.detach() != 0
            own.register_buffer("keep", keep if not keep.all() else None, persistent=False)

        def get_delta_weight(self, adapter: str) -> torch.Tensor:
            own: Any = self
            delta = super().get_delta_weight(adapter)  # type: ignore[misc]
            return delta if own.keep is None else delta * own.keep

        def forward(self, batch: torch.Tensor, *arguments: Any, **settings: Any) -> torch.Tensor:
            own: Any = self
            if own.keep is None:
                return super().forward(batch, *arguments, **settings)  # type: ignore[misc]
            layer = own.get_base_layer()
            weight = layer.weight + self.get_delta_weight(_ADAPTER)
            return torch.func.functional_call(layer, {"weight": weight}, (batch,))

    return {
        kind: type(adapter.__name__, (HoldsZeros, adapter), {})
        for kind, adapter in ((nn.Linear, Linear), (nn.Conv1d, Conv1d), (nn.Conv2d, Conv2d))
    }
