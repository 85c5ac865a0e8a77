"""Flax's layers (NNX) for those of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from techniques.backends.frameworks.exported import Held, Windows
from techniques.backends.frameworks.weights import CONVOLUTION, SAME, Layout, linear, named_tensors
from techniques.registry import CannotApply

_OF_NETWORKS = ("relu", "gelu", "silu", "sigmoid", "softmax", "log_softmax", "softplus", "one_hot")

XP = SimpleNamespace(
    **{
        **{name: function for name, function in vars(jnp).items() if not name.startswith("_")},
        **{name: getattr(jax.nn, name) for name in (*_OF_NETWORKS, "dot_product_attention")},
        "rsqrt": jax.lax.rsqrt,
        "stop_gradient": jax.lax.stop_gradient,
        "cast": lambda array, dtype: array.astype(dtype),
    }
)
"""Functions of arrays by the names that Keras gives them: NumPy's, and those of networks."""


class Layers(nnx.Module):
    """The layers of a model, each an attribute of its own."""


class FlaxLayers:
    """Makes layers of Flax with the weights of a torch module, as a program first goes through them.

    Later on it calls those that `layers` has. `places` say of each weight, by its name in the module, which
    attribute of which layer it is, and its layout there. `key` is what dropout draws its numbers by.
    """

    name = "Flax"
    xp = XP

    def __init__(
        self, layers: Layers, model: torch.nn.Module | None = None, key: jax.Array | None = None
    ) -> None:
        self.layers, self._key = layers, key
        self._making = model is not None
        self._tensors = {} if model is None else named_tensors(model)
        self._rngs = nnx.Rngs(0)  # of weights that are replaced at once
        self._dropouts = 0
        self.places: dict[str, tuple[tuple[str, ...], Layout]] = {}

    def constant(self, tensor: torch.Tensor) -> Any:
        """Return a tensor that is no weight."""
        return jnp.asarray(tensor.numpy())

    def weight(self, held: Held) -> Any:
        """Return a weight that is no layer's, a `Param`."""
        name = _attribute(held)
        if self._making:
            self._note(held, (name,), SAME)
            setattr(self.layers, name, nnx.Param(self._array(held, SAME)))
        return getattr(self.layers, name)[...]

    def convolution(self, images: Any, weight: Held, bias: Held | None, windows: Windows) -> Any:
        """Return the output of `Conv`."""

        def make() -> Any:
            out, channels, *size = self._tensors[weight.name].shape
            return nnx.Conv(
                channels * windows.groups,
                out,
                tuple(size),
                windows.strides,
                padding=[(each, each) for each in windows.padding],
                kernel_dilation=windows.dilation,
                feature_group_count=windows.groups,
                use_bias=bias is not None,
                rngs=self._rngs,
            )

        return self._layer(weight, make, kernel=(weight, CONVOLUTION), bias=(bias, SAME))(images)

    def linear(self, inputs: Any, weight: Held, bias: Held | None, order: np.ndarray[Any, Any] | None) -> Any:
        """Return the output of `Linear`."""

        def make() -> Any:
            out, features = self._tensors[weight.name].shape
            return nnx.Linear(features, out, use_bias=bias is not None, rngs=self._rngs)

        return self._layer(weight, make, kernel=(weight, linear(order)), bias=(bias, SAME))(inputs)

    def layer_norm(self, inputs: Any, weight: Held | None, bias: Held | None, eps: float) -> Any:
        """Return the output of `LayerNorm`."""

        def make() -> Any:
            own = {"use_scale": weight is not None, "use_bias": bias is not None}
            return nnx.LayerNorm(inputs.shape[-1], epsilon=eps, **own, rngs=self._rngs)

        if weight is None and bias is None:
            return make()(inputs)
        return self._layer(weight or bias, make, scale=(weight, SAME), bias=(bias, SAME))(inputs)

    def batch_norm(self, inputs: Any, held: Sequence[Held | None], momentum: float, eps: float) -> Any:
        """Return the output of `BatchNorm`, whose momentum is what stays."""
        weight, bias, mean, variance = held

        def make() -> Any:
            return nnx.BatchNorm(
                inputs.shape[-1],
                momentum=1 - momentum,
                epsilon=eps,
                use_scale=weight is not None,
                use_bias=bias is not None,
                rngs=self._rngs,
            )

        own = {"scale": weight, "bias": bias, "mean": mean, "var": variance}
        return self._layer(mean, make, **{name: (each, SAME) for name, each in own.items()})(inputs)

    def embedding(self, tokens: Any, weight: Held) -> Any:
        """Return the output of `Embed`."""

        def make() -> Any:
            return nnx.Embed(*self._tensors[weight.name].shape, rngs=self._rngs)

        return self._layer(weight, make, embedding=(weight, SAME))(tokens)

    def max_pool(self, images: Any, size: tuple[int, int], strides: tuple[int, int]) -> Any:
        """Return the output of `max_pool`."""
        return nnx.max_pool(images, size, strides)

    def average_pool(self, images: Any, size: tuple[int, int], strides: tuple[int, int]) -> Any:
        """Return the output of `avg_pool`."""
        return nnx.avg_pool(images, size, strides)

    def dropout(self, inputs: Any, rate: float) -> Any:
        """Return the output of `Dropout`, as it comes where there is no key."""
        if self._key is None:
            return inputs
        self._dropouts += 1
        own = jax.random.fold_in(self._key, self._dropouts)
        return nnx.Dropout(rate, deterministic=False)(inputs, rngs=own)

    def cross_entropy(self, targets: Any, scores: Any) -> Any:
        """Return the cross-entropy of each target."""
        return optax.softmax_cross_entropy_with_integer_labels(scores, targets)

    def _layer(
        self, first: Held | None, make: Callable[[], Any], **weights: tuple[Held | None, Layout]
    ) -> Any:
        """Return the layer that has a weight, with all of its weights; they are noted as it is made."""
        assert first is not None, "a layer is named by a weight"
        name = _attribute(first)
        if self._making:
            layer = make()
            for own, (held, layout) in weights.items():
                if held is not None:
                    self._note(held, (name, own), layout)
                    setattr(layer, own, type(getattr(layer, own))(self._array(held, layout)))
            setattr(self.layers, name, layer)
        return getattr(self.layers, name)

    def _note(self, held: Held, place: tuple[str, ...], layout: Layout) -> None:
        if held.name in self.places:
            raise CannotApply(f"{held.name} is the weight of several layers, which is not translated to Flax")
        self.places[held.name] = place, layout

    def _array(self, held: Held, layout: Layout) -> jax.Array:
        return jnp.asarray(layout.given(self._tensors[held.name]))


def _attribute(held: Held) -> str:
    return held.name.replace(".", "_")
