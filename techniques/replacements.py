"""Modules that a compression puts in the place of a model's own, and their description as plain data.

So what a compression replaced can be built again from JSON, without pickle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn


class Scale(nn.Module):
    """Multiplies each of the last axis's numbers by a factor of its own."""

    def __init__(self, features: int, bias: bool = False) -> None:
        super().__init__()
        self.features = features
        self.factors = nn.Parameter(torch.ones(features))
        self.bias = None

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return states (..., features) times the factors."""
        return states * self.factors


_KINDS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Linear, nn.Conv1d, nn.Conv2d, Scale)
}
_SIZES = {
    Scale: ("features",),
    nn.Linear: ("in_features", "out_features"),
    nn.Conv1d: ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"),
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"),
}
_MAX_SIZE = 2**31
_MAX_ELEMENTS = 2**33

Layer = Mapping[str, Any]
"""`kind`, as `Conv2d`, its sizes by the names of its constructor, and `bias` as true or false."""


class Skip(nn.Module):
    """Returns its first input: what is left of a residual block that was removed."""

    def forward(self, states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the states as they are."""
        return states


class Factors(nn.Sequential):
    """Two smaller layers in the place of one; between them are as many channels as the rank."""


class Scaled(nn.Sequential):
    """A `Scale` and the linear layer whose inputs it scales."""


def describe(module: nn.Module) -> list[dict[str, Any]] | None:
    """Return the layers of a replacement, none of a `Skip`; None for a module that is no replacement."""
    if type(module) is Skip:
        return []
    if type(module) in (Factors, Scaled):
        return [_described(layer) for layer in module.children()]
    return None


def build(layers: Sequence[Layer]) -> nn.Module:
    """Return the replacement of this description, with weights that are to be filled in.

    Raises ValueError where it is no description of a replacement.
    """
    if not layers:
        return Skip()
    built = [_built(layer) for layer in layers]
    return Scaled(*built) if isinstance(built[0], Scale) else Factors(*built)


def _described(layer: nn.Module) -> dict[str, Any]:
    kind = type(layer)
    sizes = {name: getattr(layer, name) for name in _SIZES[kind]}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in sizes.items()}
    return {"kind": kind.__name__, **plain, "bias": layer.bias is not None}


def _built(layer: Layer) -> nn.Module:
    kind = _KINDS.get(str(layer.get("kind")))
    if kind is None:
        raise ValueError(f"unknown kind of layer {str(layer.get('kind'))[:100]!r}")
    sizes: dict[str, Any] = {name: layer.get(name) for name in _SIZES[kind]}
    numbers: list[Any] = [
        number for value in sizes.values() for number in (value if isinstance(value, list) else [value])
    ]
    if not all(isinstance(number, int) and 0 <= number <= _MAX_SIZE for number in numbers):
        raise ValueError(f"{kind.__name__} has sizes that no layer has")
    if math.prod(max(1, number) for number in numbers) > _MAX_ELEMENTS:
        raise ValueError(f"{kind.__name__} is larger than any layer may be")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}
    return kind(**values, bias=layer.get("bias") is True)
