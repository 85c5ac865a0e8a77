"""A key-value cache of transformers in int8.

The quantized caches that come with it hold 8 bits in float8 alone, or need a further package.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

_LARGEST = 127


class Int8Layer(DynamicLayer):
    """Keys and values of a layer, each rounded to int8 as it comes, with a scale for each token and head.

    All of them are read back from int8, those of the newest token too. Attention multiplies floats: a cache
    in int8 takes less memory, and more time.
    """

    is_initialized: bool
    keys: torch.Tensor
    values: torch.Tensor
    key_scales: torch.Tensor
    value_scales: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep new keys and values (batch, heads, tokens, channels); return those of all tokens as floats."""
        keys, values = rounded(key_states), rounded(value_states)
        if self.is_initialized:
            keys = _joined((self.keys, self.key_scales), keys)
            values = _joined((self.values, self.value_scales), values)
        self.is_initialized, self.device = True, key_states.device
        (self.keys, self.key_scales), (self.values, self.value_scales) = keys, values
        return self.keys * self.key_scales, self.values * self.value_scales

    def stored_bytes(self) -> int:
        """Return the bytes of keys, values and their scales."""
        tensors = (self.keys, self.key_scales, self.values, self.value_scales)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def rounded(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return states (..., tokens, channels) as symmetric int8, and the scale (..., tokens, 1) of each."""
    scales = states.abs().amax(-1, keepdim=True) / _LARGEST
    scales = torch.where(scales == 0, 1, scales)
    return (states / scales).round().clamp(-_LARGEST, _LARGEST).to(torch.int8), scales


def _joined(
    kept: tuple[torch.Tensor, torch.Tensor], new: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    numbers, scales = (torch.cat(pair, dim=-2) for pair in zip(kept, new, strict=True))
    return numbers, scales
