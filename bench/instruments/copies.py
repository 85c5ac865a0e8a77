"""Deep copies of modules as people write them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch

from bench.instruments.tensors import tensors_in


def copy_of(model: torch.nn.Module, memo: dict[int, Any] | None = None) -> torch.nn.Module:
    """Return a deep copy. `memo` is that of `copy.deepcopy`.

    `copy.deepcopy` refuses tensors that were computed with gradients and kept in an attribute, as the weight
    of a layer under the old weight norm or a model's latest activations: they are copied without their
    history.
    """
    memo = {} if memo is None else memo
    for module in model.modules():
        for tensor in tensors_in(vars(module).values()):
            if not tensor.is_leaf and id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    return deepcopy(model, memo)
