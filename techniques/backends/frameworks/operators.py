"""What each operator of an exported program is in another framework: layers, and functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from techniques.backends.frameworks.exported import At, Held, Value, Windows
from techniques.registry import CannotApply

OPERATORS: dict[str, Callable[..., Any]] = {}

_PADDING = -1
"""The row that `embedding` gets no gradient for, where it names none."""


def _of(*targets: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATORS.update(dict.fromkeys((f"aten.{target}" for target in targets), function))
        return function

    return add


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    found = (size, size) if isinstance(size, int) else tuple(size) * (2 if len(size) == 1 else 1)
    return int(found[0]), int(found[1])


# Layers


@_of("conv2d.default")
def _convolution(
    at: At,
    images: Value,
    weight: Held,
    bias: Held | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Value:
    windows = Windows(_pair(stride), _pair(padding), _pair(dilation), groups)
    return Value(at.framework.convolution(at.images(images), weight, bias, windows), last=True)


@_of("linear.default")
def _linear(at: At, inputs: Value, weight: Held, bias: Held | None = None) -> Value:
    array = inputs.array if inputs.order is not None else at.plain(inputs)
    return Value(at.framework.linear(array, weight, bias, inputs.order))


@_of("layer_norm.default")
def _layer_norm(
    at: At,
    inputs: Value,
    shape: Sequence[int],
    weight: Held | None = None,
    bias: Held | None = None,
    eps: float = 1e-5,
    cudnn: bool = True,
) -> Value:
    if len(shape) != 1:
        raise CannotApply(f"{at.framework.name} has no layer here that normalizes over {len(shape)} axes")
    return Value(at.framework.layer_norm(at.plain(inputs), weight, bias, eps))


@_of("batch_norm.default")
def _batch_norm(
    at: At,
    inputs: Value,
    weight: Held | None,
    bias: Held | None,
    mean: Held | None,
    variance: Held | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn: bool = True,
) -> Value:
    if mean is None or variance is None:
        raise CannotApply(f"{at.framework.name} has no batch normalization without running statistics")
    several = len(at.shape) > 2
    array = at.images(inputs) if several else at.plain(inputs)
    held = (weight, bias, mean, variance)
    return Value(at.framework.batch_norm(array, held, momentum, eps), last=several)


@_of("embedding.default")
def _embedding(
    at: At, weight: Held, tokens: Value, padding: int = _PADDING, scale: bool = False, sparse: bool = False
) -> Value:
    if scale or sparse:
        raise CannotApply(f"{at.framework.name} has no embedding with scaled or sparse gradients")
    numbers = at.plain(tokens)
    found = at.framework.embedding(numbers, weight)
    if padding != _PADDING:  # whose row has no gradient
        is_padding = at.xp.expand_dims(at.xp.equal(numbers, padding), -1)
        found = at.xp.where(is_padding, at.xp.stop_gradient(found), found)
    return Value(found)


@_of("max_pool2d.default")
def _max_pool(
    at: At,
    images: Value,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil: bool = False,
) -> Value:
    _refuse_pool(at, _pair(dilation) != (1, 1), ceil)
    high, wide = _pair(padding)
    array = at.images(images)
    if high or wide:
        around = ((0, 0), (high, high), (wide, wide), (0, 0))
        array = at.xp.pad(array, around, constant_values=-math.inf)
    return Value(at.framework.max_pool(array, _pair(size), _pair(stride or size)), last=True)


@_of("avg_pool2d.default")
def _average_pool(
    at: At,
    images: Value,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil: bool = False,
    counts_padding: bool = True,
    divisor: int | None = None,
) -> Value:
    _refuse_pool(at, _pair(padding) != (0, 0) or divisor is not None, ceil)
    return Value(at.framework.average_pool(at.images(images), _pair(size), _pair(stride or size)), last=True)


def _refuse_pool(at: At, differs: bool, ceil: bool) -> None:
    if differs or ceil:
        raise CannotApply(f"{at.framework.name} has no layer here that pools with these settings")


@_of("adaptive_avg_pool2d.default")
def _mean_of_images(at: At, images: Value, size: Sequence[int]) -> Value:
    if _pair(size) != (1, 1):
        raise CannotApply(f"{at.framework.name} has no layer here that pools to {_pair(size)}")
    return Value(at.xp.mean(at.images(images), axis=(1, 2), keepdims=True), last=True)


@_of("dropout.default")
def _dropout(at: At, inputs: Value, rate: float, training: bool) -> Value:
    if not (training and rate):
        return inputs
    return Value(at.framework.dropout(inputs.array, rate), inputs.last, inputs.order)


@_of("scaled_dot_product_attention.default")
def _attention(
    at: At,
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    if mask is not None or dropout or enable_gqa or len(at.shape) != 4:
        raise CannotApply(f"{at.framework.name} has no attention here with a mask, dropout or shared keys")
    # PyTorch has (batch, heads, length, width), the others (batch, length, heads, width).
    swapped = [at.xp.transpose(at.plain(each), (0, 2, 1, 3)) for each in (query, key, value)]
    found = at.xp.dot_product_attention(*swapped, scale=scale, is_causal=causal)
    return Value(at.xp.transpose(found, (0, 2, 1, 3)))


# Functions of each number

_UNARY = {
    **{"relu": "relu", "relu_": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "silu": "silu", "exp": "exp"},
    **{"log": "log", "sqrt": "sqrt", "rsqrt": "rsqrt", "neg": "negative", "abs": "abs", "square": "square"},
}


def _unary(name: str, at: At, inputs: Value) -> Value:
    return Value(getattr(at.xp, name)(inputs.array), inputs.last, inputs.order)


OPERATORS.update({f"aten.{name}.default": partial(_unary, function) for name, function in _UNARY.items()})


@_of("gelu.default")
def _gelu(at: At, inputs: Value, *, approximate: str = "none") -> Value:
    found = at.xp.gelu(inputs.array, approximate=approximate == "tanh")
    return Value(found, inputs.last, inputs.order)


@_of("clone.default", "contiguous.default", "detach.default", "alias.default", "detach_.default")
def _same(at: At, inputs: Value, **layout: Any) -> Value:
    return inputs


@_of("pow.Tensor_Scalar")
def _power(at: At, inputs: Value, exponent: float) -> Value:
    return Value(at.xp.power(inputs.array, exponent), inputs.last, inputs.order)


_BINARY = {"add": "add", "add_": "add", "sub": "subtract", "mul": "multiply", "div": "divide"}


def _binary(name: str, at: At, one: Any, other: Any, *, alpha: float = 1) -> Value:
    tensors: list[Any] = [each for each in (one, other) if isinstance(each, Value | Held)]
    if _lie_alike(tensors) and len(set(at.shapes)) == 1:
        like = tensors[0]
        one, other = (each.array if isinstance(each, Value) else each for each in (one, other))
    else:
        like = Value(None)
        one, other = at.plain(one), at.plain(other)
    found = getattr(at.xp, name)(one, other if alpha == 1 else at.xp.multiply(other, alpha))
    return Value(found, like.last, like.order)


def _lie_alike(tensors: Sequence[Any]) -> bool:
    """Say whether arrays can be taken number by number as they lie: PyTorch's layout needs no restoring."""
    if not all(isinstance(each, Value) for each in tensors):
        return False
    return all(each.last == tensors[0].last and each.order is tensors[0].order for each in tensors)


OPERATORS.update({f"aten.{name}.Tensor": partial(_binary, function) for name, function in _BINARY.items()})

# Over axes, and shapes


def _reduced(name: str, at: At, inputs: Value, axes: Sequence[int], keepdim: bool = False, **_: Any) -> Value:
    function = getattr(at.xp, name)
    dimensions = len(at.shapes[0])
    found = sorted(axis % dimensions for axis in axes)
    if inputs.last and dimensions == 4 and found == [2, 3]:
        return Value(function(inputs.array, axis=(1, 2), keepdims=keepdim), last=keepdim)
    return Value(function(at.plain(inputs), axis=tuple(found), keepdims=keepdim))


OPERATORS.update(
    {"aten.mean.dim": partial(_reduced, "mean"), "aten.sum.dim_IntList": partial(_reduced, "sum")}
)


def _reduced_whole(name: str, at: At, inputs: Value, **_: Any) -> Value:
    return Value(getattr(at.xp, name)(inputs.array))


OPERATORS.update({f"aten.{name}.default": partial(_reduced_whole, name) for name in ("mean", "sum")})


@_of("flatten.using_ints", "view.default", "reshape.default", "_unsafe_view.default", "unflatten.int")
def _reshaped(at: At, inputs: Value, *sizes: Any) -> Value:
    before, after = at.shapes[0], at.shape
    if inputs.last and len(before) == 4:
        if after == (before[0], math.prod(before[1:])):
            numbers = np.arange(after[1]).reshape(before[1:])
            return Value(at.xp.reshape(inputs.array, after), order=numbers.transpose(1, 2, 0).ravel())
        if after == (*before[:2], before[2] * before[3]):
            return Value(at.xp.reshape(inputs.array, (before[0], after[2], before[1])), last=True)
    return Value(at.xp.reshape(at.plain(inputs), after))


@_of("transpose.int")
def _transposed(at: At, inputs: Value, one: int, other: int) -> Value:
    dimensions = len(at.shape)
    one, other = one % dimensions, other % dimensions
    if inputs.last and dimensions == 3 and {one, other} == {1, 2}:
        return Value(inputs.array)
    axes = list(range(dimensions))
    axes[one], axes[other] = other, one
    return Value(at.xp.transpose(at.plain(inputs), axes))


@_of("permute.default")
def _permuted(at: At, inputs: Value, axes: Sequence[int]) -> Value:
    found = [axis % len(axes) for axis in axes]
    if inputs.last and found == [0, *range(2, len(axes)), 1]:
        return Value(inputs.array)
    return Value(at.xp.transpose(at.plain(inputs), found))


@_of("unsqueeze.default")
def _unsqueezed(at: At, inputs: Value, axis: int) -> Value:
    return Value(at.xp.expand_dims(at.plain(inputs), axis % len(at.shape)))


@_of("squeeze.dim", "squeeze.dims")
def _squeezed(at: At, inputs: Value, axes: int | Sequence[int]) -> Value:
    return Value(at.xp.reshape(at.plain(inputs), at.shape))


@_of("expand.default")
def _expanded(at: At, inputs: Value, sizes: Sequence[int], **options: Any) -> Value:
    return Value(at.xp.broadcast_to(at.plain(inputs), at.shape))


@_of("broadcast_tensors.default")
def _broadcast(at: At, inputs: Sequence[Value]) -> list[Value]:
    if len(set(at.shapes)) == 1:
        return list(inputs)
    shape = np.broadcast_shapes(*at.shapes)
    return [Value(at.xp.broadcast_to(at.plain(each), shape)) for each in inputs]


@_of("select.int")
def _selected(at: At, inputs: Value, axis: int, number: int) -> Value:
    return Value(at.xp.take(at.plain(inputs), number, axis=axis))


@_of("slice.Tensor")
def _sliced(
    at: At, inputs: Value, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Value:
    length = at.shapes[0][axis]
    which = slice(start, None if end is None else min(end, length), step)
    return Value(at.plain(inputs)[(*[slice(None)] * (axis % len(at.shape)), which)])


@_of("softmax.int")
def _softmax(at: At, inputs: Value, axis: int, dtype: object = None) -> Value:
    return Value(at.xp.softmax(at.plain(inputs), axis=axis))


@_of("log_softmax.int")
def _log_softmax(at: At, inputs: Value, axis: int, dtype: object = None) -> Value:
    return Value(at.xp.log_softmax(at.plain(inputs), axis=axis))


@_of("matmul.default", "bmm.default")
def _product(at: At, one: Value, other: Value) -> Value:
    return Value(at.xp.matmul(at.plain(one), at.plain(other)))


@_of("one_hot.default")
def _one_hot(at: At, numbers: Value, classes: int) -> Value:
    return Value(at.xp.one_hot(at.plain(numbers), classes))


@_of("to.dtype", "to.dtype_layout", "_to_copy.default")
def _converted(at: At, inputs: Value, dtype: object = None, *options: Any, **more: Any) -> Value:
    """Return floats: all that is asked for here is fp32, of labels or of what is fp32 already."""
    wanted = str(more.get("dtype", dtype)).removeprefix("torch.")
    if wanted != "float32":
        raise CannotApply(f"{at.framework.name} has no conversion here to {wanted}")
    return Value(at.xp.cast(inputs.array, wanted), inputs.last, inputs.order)
