"""A decoder whose key-value cache goes in and comes out as tensors, as exporters need it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from techniques.registry import CannotApply

INPUTS = ("input_ids", "attention_mask", "position_ids")
LOGITS = "logits"
PARTS = ("key", "value")


class CachedDecoder(torch.nn.Module):
    """A causal language model of transformers; keys and values of each layer are arguments and results.

    `cache` are keys and values, layer after layer, each (texts, heads, tokens read, channels).
    """

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        *cache: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Read tokens (texts, time); return their logits (texts, time, symbols), and the longer cache.

        `attention_mask` (texts, tokens read + time) is 0 where a token is padding.
        """
        read = cache[0].shape[2]
        places = torch.arange(read + input_ids.shape[1], device=input_ids.device)
        earlier = places[None, :] <= places[read:][:, None]
        mask = earlier[None, None] & attention_mask[:, None, None, :].bool()
        return _read(self.decoder, input_ids, mask, position_ids, _as_cache(cache))


class Prompt(torch.nn.Module):
    """A causal language model of transformers that reads whole prompts, side by side, and keeps a cache."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Read tokens (texts, time); return their logits (texts, time, symbols), and the cache."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        mask = (places[None, :] <= places[:, None])[None, None]
        return _read(self.decoder, tokens, mask, places[None], _empty(self.decoder.config.num_hidden_layers))


class NextToken(torch.nn.Module):
    """The same model, which reads one more token of each text; texts have read as many tokens."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, token: torch.Tensor, *cache: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Read a token (texts, 1); return its logits (texts, 1, symbols), and the longer cache."""
        read = cache[0].shape[2]
        place = torch.arange(read, read + 1, device=token.device)
        mask = torch.ones(1, 1, 1, read + 1, dtype=torch.bool, device=token.device)
        return _read(self.decoder, token, mask, place[None], _as_cache(cache))


def _read(
    decoder: Any, tokens: torch.Tensor, mask: torch.Tensor, places: torch.Tensor, cache: Any
) -> tuple[torch.Tensor, ...]:
    # A mask of four dimensions is taken as it is; no tracer reads how transformers makes its own.
    found = decoder(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=places,
        use_cache=True,
        **{cache_argument(decoder): cache},
    )
    return (found.logits, *(part for layer in cache.layers for part in (layer.keys, layer.values)))


def cache_argument(module: torch.nn.Module) -> str:
    """Return what a model of transformers calls its cache: newer versions have another name."""
    names = inspect.signature(module.forward).parameters
    return "cache" if "cache" in names else "past_key_values"


def cache_names(layers: int, prefix: str) -> list[str]:
    """Return names for the tensors of a cache: `prefix`.0.key, `prefix`.0.value, ..."""
    return [f"{prefix}.{layer}.{part}" for layer in range(layers) for part in PARTS]


@torch.no_grad()
def cache_shapes(decoder: Any) -> list[tuple[int, int]]:
    """Return heads of keys and values, and channels of each, layer by layer, as a token leaves them.

    Raises CannotApply for a decoder that keeps nothing of a layer, as of one that was removed.
    """
    from transformers import DynamicCache

    cache = DynamicCache()
    token = torch.zeros(1, 1, dtype=torch.int64)
    decoder(input_ids=token, use_cache=True, **{cache_argument(decoder): cache})
    layers = decoder.config.num_hidden_layers
    kept = [layer.keys for layer in cache.layers if layer.is_initialized]
    if len(kept) != layers:
        raise CannotApply(f"the decoder keeps keys of {len(kept)} of its {layers} layers")
    return [(keys.shape[1], keys.shape[3]) for keys in kept]


def example_inputs(
    shapes: Sequence[tuple[int, int]], texts: int = 2, read: int = 3, time: int = 4
) -> tuple[torch.Tensor, ...]:
    """Return inputs of a `CachedDecoder` that has read some tokens: what a tracer follows."""
    tokens = torch.ones(texts, time, dtype=torch.int64)
    mask = torch.ones(texts, read + time, dtype=torch.int64)
    places = torch.arange(read, read + time).expand(texts, time)
    cache = [torch.zeros(texts, heads, read, channels) for heads, channels in shapes for _ in PARTS]
    return (tokens, mask, places, *cache)


def _as_cache(tensors: Sequence[torch.Tensor]) -> Any:
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache()
    for keys, values in zip(tensors[::2], tensors[1::2], strict=True):
        layer = DynamicLayer()
        layer.keys, layer.values = keys, values
        layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
        cache.layers.append(layer)
    return cache


def _empty(layers: int) -> Any:
    """Return a cache whose layers keep what they get first as it is."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class FirstLayer(DynamicLayer):
        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            self.keys, self.values, self.is_initialized = key_states, value_states, True
            return key_states, value_states

    cache = DynamicCache()
    cache.layers = [FirstLayer() for _ in range(layers)]
    return cache
