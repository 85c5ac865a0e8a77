"""Continuing texts with a key-value cache of transformers, in eager PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from techniques.backends.cached_decoder import cache_argument


class CachedDecoding:
    """Continues texts with transformers' key-value cache, one more token of each sequence at a time.

    The model's `decoder` is a causal language model of transformers. A cache is read and changed in place.
    """

    def __init__(self, model: nn.Module) -> None:
        decoder: Any = model.decoder
        self._decoder = decoder
        self._argument = cache_argument(decoder.base_model)

    def prefill(self, tokens: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Read prompts (batch, time); return the next token's logits (batch, symbols) and a new cache."""
        return self.decode(tokens, self.empty_cache())

    def empty_cache(self) -> Any:
        """Return a cache that nothing was read into."""
        from transformers import DynamicCache

        return DynamicCache()

    def decode(self, tokens: torch.Tensor, cache: Any) -> tuple[torch.Tensor, Any]:
        """Read more tokens (batch, time) of each text; return as `prefill`, with the cache that was given."""
        found = self._decoder.base_model(tokens, use_cache=True, **{self._argument: cache})
        return self._decoder.lm_head(found.last_hidden_state[:, -1]), cache

    def cache_bytes(self, cache: Any) -> int:
        """Return the bytes of the keys and values of all layers."""
        tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Int8CachedDecoding(CachedDecoding):
    """Continues texts with keys and values in int8; see `Int8Layer`."""

    def empty_cache(self) -> Any:
        """Return a cache that nothing was read into."""
        from transformers.cache_utils import Cache

        from bench.workloads.int8_cache import Int8Layer

        return Cache(layer_class_to_replicate=Int8Layer)

    def cache_bytes(self, cache: Any) -> int:
        """Return the bytes of the keys and values of all layers, and of their scales."""
        return sum(layer.stored_bytes() for layer in cache.layers)
