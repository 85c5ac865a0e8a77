"""The layers of a model that a step may change by themselves."""

from __future__ import annotations

from collections import Counter
from typing import cast

import torch
from torch import nn

from techniques.compression.runs import run
from techniques.registry import CannotApply

READERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules of PyTorch that read their layers' weights instead of calling them, at least at times."""

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


def called_layers(model: nn.Module, example: torch.Tensor, *, read: bool = False) -> dict[str, Layer]:
    """Return the plain linear and convolution layers by name, in the order in which they are called.

    Each has a weight of its own. Those of `READERS` are among them only where layers may be `read`.
    """
    called: dict[nn.Module, None] = {}
    named = list(model.named_modules(remove_duplicate=False))
    handles = [
        module.register_forward_pre_hook(lambda layer, _: called.setdefault(layer))
        for module in {module for _, module in named}
    ]
    try:
        run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    weights = Counter(id(each) for _, module in named for each in module.parameters(recurse=False))
    readers = () if read else READERS
    left_out = {layer for _, module in named if isinstance(module, readers) for layer in module.modules()}
    names = {module: name for name, module in named}
    return {
        names[module]: cast(Layer, module)
        for module in called
        if module not in left_out and _is_plain(module) and weights[id(module.weight)] == 1
    }


def grouped_layers(
    model: nn.Module, example: torch.Tensor, group: int, step: str, *, read: bool = False
) -> list[nn.Linear]:
    """Return the linear layers of `called_layers` whose inputs the group divides; all if the group is 0.

    Raises CannotApply, in the name of the step, where there are none.
    """
    every = called_layers(model, example, read=read).values()
    linear = [layer for layer in every if isinstance(layer, nn.Linear)]
    found = [layer for layer in linear if not group or layer.in_features % group == 0]
    if not found:
        sizes = f" whose inputs {group} divides" if linear else ""
        raise CannotApply(f"{step}: the model has no linear layer{sizes}")
    return found


def _is_plain(module: nn.Module) -> bool:
    if type(module) is nn.Linear:
        return True
    if type(module) not in (nn.Conv1d, nn.Conv2d):
        return False
    layer = cast(nn.Conv2d, module)
    return layer.groups == 1 and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple)
