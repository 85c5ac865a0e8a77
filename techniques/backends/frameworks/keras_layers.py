"""Keras's layers for those of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import torch

from techniques.backends.frameworks.exported import Exported, Held, Value, Windows
from techniques.backends.frameworks.operators import OPERATORS
from techniques.backends.frameworks.weights import CONVOLUTION, SAME, Layout, host, linear, named_tensors
from techniques.registry import CannotApply

_ZEROS: Any = {"kernel_initializer": "zeros", "bias_initializer": "zeros"}  # its own weights come at once


class KerasLayers:
    """Makes layers of Keras with the weights of a torch module, as a program goes through them.

    `weights` are Keras's variables, with their layouts, by the names of PyTorch's. `entry` is the model's
    input.
    """

    name = "Keras"
    xp = keras.ops

    def __init__(self, model: torch.nn.Module, entry: Any = None) -> None:
        self._tensors = named_tensors(model)
        self._entry = entry
        self._dropouts = 0
        self.weights: dict[str, tuple[Any, Layout]] = {}

    def constant(self, tensor: torch.Tensor) -> Any:
        """Return a tensor that is no weight."""
        return keras.ops.convert_to_tensor(tensor.numpy())

    def weight(self, held: Held) -> Any:
        """Return a weight that is no layer's."""
        layer = OwnWeight(tuple(self._tensors[held.name].shape))
        found = layer(self._entry)
        self._hold(held, layer.value)
        return found

    def convolution(self, images: Any, weight: Held, bias: Held | None, windows: Windows) -> Any:
        """Return the output of `Conv2D`, after `ZeroPadding2D` where its own padding is another."""
        filters, _, *size = self._tensors[weight.name].shape
        padding, dilation = windows.padding, windows.dilation
        same = all(
            2 * each == way * (extent - 1) for each, extent, way in zip(padding, size, dilation, strict=True)
        )
        own = same and windows.strides == (1, 1)
        if padding != (0, 0) and not own:
            images = keras.layers.ZeroPadding2D(padding, data_format="channels_last")(images)
        layer = keras.layers.Conv2D(
            filters,
            tuple(size),
            windows.strides,
            "same" if own and padding != (0, 0) else "valid",
            data_format="channels_last",
            dilation_rate=dilation,
            groups=windows.groups,
            use_bias=bias is not None,
            **_ZEROS,
        )
        found = layer(images)
        self._hold(weight, layer.kernel, CONVOLUTION)
        self._hold(bias, layer.bias)
        return found

    def linear(self, inputs: Any, weight: Held, bias: Held | None, order: np.ndarray[Any, Any] | None) -> Any:
        """Return the output of `Dense`."""
        layer = keras.layers.Dense(self._tensors[weight.name].shape[0], use_bias=bias is not None, **_ZEROS)
        found = layer(inputs)
        self._hold(weight, layer.kernel, linear(order))
        self._hold(bias, layer.bias)
        return found

    def layer_norm(self, inputs: Any, weight: Held | None, bias: Held | None, eps: float) -> Any:
        """Return the output of `LayerNormalization`."""
        layer = keras.layers.LayerNormalization(
            epsilon=eps, center=bias is not None, scale=weight is not None
        )
        found = layer(inputs)
        self._hold(weight, layer.gamma)
        self._hold(bias, layer.beta)
        return found

    def batch_norm(self, inputs: Any, held: Sequence[Held | None], momentum: float, eps: float) -> Any:
        """Return the output of `BatchNormalization`, whose momentum is what stays."""
        weight, bias, mean, variance = held
        layer = keras.layers.BatchNormalization(
            momentum=1 - momentum, epsilon=eps, center=bias is not None, scale=weight is not None
        )
        found = layer(inputs)
        for each, variable in (
            (weight, layer.gamma),
            (bias, layer.beta),
            (mean, layer.moving_mean),
            (variance, layer.moving_variance),
        ):
            self._hold(each, variable)
        return found

    def embedding(self, tokens: Any, weight: Held) -> Any:
        """Return the output of `Embedding`."""
        layer = keras.layers.Embedding(*self._tensors[weight.name].shape, embeddings_initializer="zeros")
        found = layer(tokens)
        self._hold(weight, layer.embeddings)
        return found

    def max_pool(self, images: Any, size: tuple[int, int], strides: tuple[int, int]) -> Any:
        """Return the output of `MaxPooling2D`."""
        return keras.layers.MaxPooling2D(size, strides, "valid", data_format="channels_last")(images)

    def average_pool(self, images: Any, size: tuple[int, int], strides: tuple[int, int]) -> Any:
        """Return the output of `AveragePooling2D`."""
        return keras.layers.AveragePooling2D(size, strides, "valid", data_format="channels_last")(images)

    def dropout(self, inputs: Any, rate: float) -> Any:
        """Return the output of `Dropout`, which draws its own numbers, by PyTorch's seed."""
        self._dropouts += 1
        return keras.layers.Dropout(rate, seed=(torch.initial_seed() + self._dropouts) % 2**31)(inputs)

    def cross_entropy(self, targets: Any, scores: Any) -> Any:
        """Return the cross-entropy of each target."""
        return keras.ops.sparse_categorical_crossentropy(targets, scores, from_logits=True)

    def _hold(self, held: Held | None, variable: Any, layout: Layout = SAME) -> None:
        """Give a variable the weight of that name, and remember that it stands for it."""
        if held is None:
            return
        if held.name in self.weights:
            raise CannotApply(
                f"{held.name} is the weight of several layers, which is not translated to Keras"
            )
        tensor = self._tensors[held.name]
        variable.assign(layout.given(tensor))
        if isinstance(tensor, torch.nn.Parameter) and not tensor.requires_grad:
            variable.trainable = False
        self.weights[held.name] = variable, layout


class OwnWeight(keras.layers.Layer):
    """A weight of its own, whatever the input."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._own_shape = shape

    def build(self, input_shape: Any) -> None:
        """Make the variable."""
        self.value = self.add_weight(shape=self._own_shape, initializer="zeros", name="value")

    def call(self, inputs: Any) -> Any:
        """Return the weight."""
        return keras.ops.convert_to_tensor(self.value)


def functional(
    model: torch.nn.Module, exported: Exported, example: torch.Tensor
) -> tuple[Any, dict[str, tuple[Any, Layout]]]:
    """Return a model of Keras for batches of the example's shape, and its variables by PyTorch's names.

    Raises CannotApply where a layer has no counterpart.
    """
    array = host(example)
    entry = keras.Input(batch_shape=array.shape, dtype=str(array.dtype))
    layers = KerasLayers(model, entry)
    found = exported.walk(
        layers, OPERATORS, Value(entry, last=array.ndim == 4 and example.is_floating_point())
    )
    return keras.Model(entry, found), layers.weights
