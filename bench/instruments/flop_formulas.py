"""FLOPs of the operators that multiply and add, from the shapes they are called with: 2 a multiply-add.

They take the output, then the operator's arguments. Padding, causal masks and zeros count as dense, as in
torch.utils.flop_counter, whose formulas these replace: it has none for attention on the CPU, the fused
encoder layer, LSTM, matrix-vector products and products in place, and multiplies the backward of a grouped
convolution by its groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch

from bench.instruments.tensors import stored_elements

Formula = Callable[..., int]

_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
Tensor = torch.Tensor


def product(out: Tensor, left: Tensor, /, *others: object, **__: object) -> int:
    """Matrix product whose inner dimension is the left operand's last: mm, bmm, mv, linear, packed or not.

    Shapes: left (..., m, k), out (..., m, n). Of a sparse operand each element that is stored takes part, and
    no other; of two of them, each pair of stored elements that meet.
    """
    right = others[0] if others else None
    if _is_sparse(left) and isinstance(right, Tensor) and _is_sparse(right):
        return 2 * _meetings(left, right)
    if _is_sparse(left):
        return 2 * stored_elements(left) * (out.shape[-1] if out.dim() == left.dim() else 1)
    if isinstance(right, Tensor) and _is_sparse(right):
        return 2 * stored_elements(right) * prod(left.shape[:-1])
    return 2 * prod(out.shape) * left.shape[-1]


def added(out: Tensor, _: Tensor, left: Tensor, /, *others: object, **___: object) -> int:
    """A product added to a first operand: addmm, addmv, baddbmm."""
    return product(out, left, *others)


def dot(_: Tensor, left: Tensor, /, *__: object, **___: object) -> int:
    """A dot product of two vectors (n,)."""
    return 2 * left.numel()


def vecdot(_: Tensor, left: Tensor, right: Tensor, /, **__: object) -> int:
    """Dot products along one dimension, of operands that are repeated to one shape."""
    return 2 * prod(torch.broadcast_shapes(left.shape, right.shape))


def embedding_bag(outs: Any, _: object, indices: Tensor, /, *settings: Any, **named: Any) -> int:
    """Sums of rows: a sparse matrix of the samples' weights by the dense table; without weights only sums."""
    weights = settings[4] if len(settings) > 4 else named.get("per_sample_weights")
    out = outs if isinstance(outs, Tensor) else outs[0]
    return 0 if weights is None else 2 * indices.numel() * out.shape[-1]


def embedding_bag_backward(weights: int) -> Formula:
    """The table's gradient: the same sparse matrix, which is this argument, by that of the sums."""

    def formula(_: object, grad: Tensor, indices: Tensor, /, *settings: Any) -> int:
        return 0 if settings[weights - 2] is None else 2 * indices.numel() * grad.shape[-1]

    return formula


def sample_weights_backward(_: object, grad: Tensor, _table: Tensor, indices: Tensor, /, *__: Any) -> int:
    """A dot product for each weight: its row with the gradient of its sum."""
    return 2 * indices.numel() * grad.shape[-1]


def outer(out: Tensor, /, *_: object, **__: object) -> int:
    """An outer product: a multiply-add for each element of the output."""
    return 2 * out.numel()


def addbmm(_: Tensor, __: Tensor, left: Tensor, right: Tensor, /, **___: object) -> int:
    """The sum over a batch of products, (b, m, k) by (b, k, n)."""
    return 2 * left.numel() * right.shape[-1]


def grouped_mm(out: Tensor, left: Tensor, right: Tensor, /, *_: object, **__: object) -> int:
    """A matrix product for each group."""
    # Of two matrices the groups cut the inner dimension, and each multiplies its own part of it.
    return 2 * left.numel() * right.shape[-1] if left.dim() == right.dim() == 2 else product(out, left)


def reduced_product(outs: tuple[Tensor, ...], left: Tensor, right: Tensor, /, *_: object) -> int:
    """A sparse product whose sums may be means or maxima."""
    return product(outs[0], left, right)


def sampled_product(out: Tensor, mask: Tensor, left: Tensor, /, *_: object, **__: object) -> int:
    """The elements of a product that a sparse mask stores, and no other."""
    return 2 * stored_elements(mask) * left.shape[-1]


def product_backward(_: object, grad: Tensor, left: Tensor, _right: object, wanted: Any, /) -> int:
    """Two gradients, each as large as the product itself."""
    return 2 * grad.numel() * left.shape[-1] * (wanted[0] + wanted[1])


def linear_backward(_: object, inputs: Tensor, grad: Tensor, _weight: object, wanted: Any, /) -> int:
    """The gradients of a linear layer's inputs (..., inputs) and weight, each as large as the forward."""
    return 2 * grad.numel() * inputs.shape[-1] * (wanted[0] + wanted[1])


def linear_backward_input(_: object, _size: object, grad: Tensor, weight: Tensor, /) -> int:
    """The gradient of a linear layer's inputs: grad (..., outputs) by weight (outputs, inputs)."""
    return 2 * grad.numel() * weight.shape[-1]


def linear_backward_weights(_: object, grad: Tensor, inputs: Tensor, /, *__: object) -> int:
    """The gradient of a linear layer's weight: grad (..., outputs) by inputs (..., inputs)."""
    return 2 * grad.numel() * inputs.shape[-1]


def euclidean_distances(out: Tensor, left: Tensor, _right: object, /, **__: object) -> int:
    """One product, of [-2x, |x|², 1] with [y, 1, |y|²]: what `cdist` does with more than 25 rows."""
    return 2 * out.numel() * (left.shape[-1] + 2)


def affine_grid(out: Tensor, theta: Tensor, /, *_: object, **__: object) -> int:
    """Each point of the grid takes the matrix once."""
    return 2 * out.numel() * theta.shape[-1]


def foreach_mm(outs: Iterable[Tensor], lefts: Iterable[Tensor], /, *_: object, **__: object) -> int:
    """A list of matrix products."""
    return sum(product(out, left) for out, left in zip(outs, lefts, strict=True))


def convolve(positions: Tensor, weight: Tensor) -> int:
    """Each position (sample and pixel) takes every weight once, however many groups there are.

    Shapes: positions (batch, channels, *spatial), weight (outputs, inputs / groups, *kernel).
    """
    return 2 * (positions.numel() // positions.shape[1]) * weight.numel()


def convolution(
    out: Tensor, inputs: Tensor, weight: Tensor, _bias: object, /, *settings: Any, **__: object
) -> int:
    """A convolution, transposed where its settings say so."""
    transposed = settings[3]
    return convolve(inputs if transposed else out, weight)


def plain_convolution(out: Tensor, _: Tensor, weight: Tensor, /, *__: object, **___: object) -> int:
    """A convolution that is not transposed: each output position takes every weight."""
    return convolve(out, weight)


def transposed_convolution(_: object, inputs: Tensor, weight: Tensor, /, *__: object, **___: object) -> int:
    """A transposed convolution: each input position takes every weight."""
    return convolve(inputs, weight)


def convolution_backward(_: object, grad: Tensor, inputs: Tensor, weight: Tensor, *settings: Any) -> int:
    """Each gradient, of the inputs and of the weights, takes as many multiply-adds as the forward."""
    transposed, wanted = settings[4], settings[7]
    return convolve(inputs if transposed else grad, weight) * (wanted[0] + wanted[1])


def slow_convolution_backward(
    _: object, grad: Tensor, _inputs: object, weight: Tensor, *settings: Any
) -> int:
    """The two gradients of a convolution by ATen's own kernel, each as large as the forward."""
    return convolve(grad, weight) * (settings[3][0] + settings[3][1])


def conv_tbc(out: Tensor, _: Tensor, weight: Tensor, *__: object) -> int:
    """A convolution over time: out (time, batch, outputs), weight (kernel, inputs, outputs)."""
    return 2 * out.numel() * weight.shape[0] * weight.shape[1]


def packed_convolution(out: Tensor, _: Tensor, packed: Any, *__: object) -> int:
    """A quantized convolution whose weight is packed."""
    return convolve(out, packed.unpack()[0])


def sum_convolution(out: Tensor, _: Tensor, _inputs: Tensor, weight: Tensor, *__: object) -> int:
    """A convolution added in place to another tensor, which is the first argument."""
    return convolve(out, weight)


def packed_sum_convolution(out: Tensor, _: Tensor, _added: Tensor, packed: Any, *__: object) -> int:
    """A quantized convolution with a packed weight, added to another tensor."""
    return convolve(out, packed.unpack()[0])


def packed_transposed_convolution(_: object, inputs: Tensor, packed: Any, *__: object) -> int:
    """A quantized transposed convolution whose weight is packed."""
    return convolve(inputs, packed.unpack()[0])


def pointwise_qconv(
    out: Tensor, _x: object, _scale: object, _zero: object, weight: Tensor, *__: object
) -> int:
    """oneDNN's quantized convolution, whose weight follows the input, its scale and its zero point."""
    return convolve(out, weight)


def attention(_: object, query: Tensor, key: Tensor, value: Tensor, *__: object, **___: object) -> int:
    """Two products: query with key, scores with value. Keys that query heads share count for each head.

    Shapes: query (batch, heads, n, width), key and value (batch, heads, m, width).
    """
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def recomputed_scores(
    _: object, _grad: object, query: Tensor, key: Tensor, /, *__: object, **___: object
) -> int:
    """Of the five products of the backward pass, the one that the forward pass has done before."""
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * query.shape[-1]


def attention_backward(
    _: object, grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *__: object, **___: object
) -> int:
    """Five products, as the kernel does them: four gradients, and the scores once more."""
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * (3 * query.shape[-1] + 2 * value.shape[-1])


def multi_head_attention(
    _: object, query: Tensor, key: Tensor, __: object, width: int, *___: object, **____: object
) -> int:
    """Four projections of width × width, and two products of the tokens with each other."""
    pairs = zip(_lengths(query), _lengths(key), strict=True)
    return sum(4 * width * (width * (tokens + others) + tokens * others) for tokens, others in pairs)


def encoder_layer(_: object, source: Tensor, width: int, *rest: Any, **__: object) -> int:
    """PyTorch's fused encoder layer: attention, and the two products of the feed-forward block."""
    expand, reduce = rest[12], rest[14]
    tokens = sum(_lengths(source))
    return multi_head_attention(None, source, source, None, width) + 2 * tokens * (
        expand.numel() + reduce.numel()
    )


def rnn_layer(_: object, inputs: Tensor, from_input: Tensor, from_hidden: Tensor, *__: object) -> int:
    """Each token takes every weight of all gates once."""
    return 2 * prod(inputs.shape[:-1]) * (from_input.numel() + from_hidden.numel())


def rnn_layer_backward(
    _: object, inputs: Tensor, from_input: Tensor, from_hidden: Tensor, *__: object
) -> int:
    """Two gradients of a layer of oneDNN's, each as large as the forward."""
    return 2 * rnn_layer(None, inputs, from_input, from_hidden)


def rnn(_: object, inputs: Tensor, weights: Iterable[Tensor], *__: object) -> int:
    """A recurrent net of several layers: each token takes every weight matrix once, and no bias counts."""
    return 2 * prod(inputs.shape[:-1]) * sum(weight.numel() for weight in weights if weight.dim() == 2)


def rnn_backward(_: object, inputs: Tensor, weights: Iterable[Tensor], *settings: Any) -> int:
    """The gradients of the inputs and, where they are asked for, of the weights."""
    return rnn(None, inputs, weights) * (1 + bool(settings[-1][3]))


def lstm_of_mps(_: object, inputs: Tensor, _state: object, weights: Iterable[Tensor], *__: object) -> int:
    """An LSTM on an Apple GPU, whose state comes before its weights."""
    return rnn(None, inputs, weights)


def quantized_rnn(gates: int) -> Formula:
    """Layers whose weights are packed: their shapes follow from those of the input and the state."""

    def formula(_: object, inputs: Tensor, *rest: Any, **__: object) -> int:
        # Padded batches: state, weights, has_biases, ...; packed sequences have their batch sizes before.
        first = next(number for number, value in enumerate(rest) if isinstance(value, bool))
        state, (_biases, layers, _dropout, _train, both_ways) = rest[first - 2], rest[first : first + 5]
        hidden = (state if isinstance(state, Tensor) else state[0]).shape[-1]
        directions = 2 if both_ways else 1
        widths = inputs.shape[-1] + hidden + (layers - 1) * (directions + 1) * hidden
        return 2 * prod(inputs.shape[:-1]) * directions * gates * hidden * widths

    return formula


def quantized_cell(gates: int) -> Formula:
    """A step of a quantized cell of so many gates; inputs (batch, inputs), state (batch, hidden)."""

    def formula(_: object, inputs: Tensor, state: Any, *__: object, **___: object) -> int:
        hidden = (state if isinstance(state, Tensor) else state[0]).shape[-1]
        return 2 * prod(inputs.shape[:-1]) * gates * hidden * (inputs.shape[-1] + hidden)

    return formula


def tokens(inputs: Tensor) -> int:
    """Return how many tokens a batch of them has, padding included unless it is nested."""
    return sum(_lengths(inputs)) if inputs.is_nested else prod(inputs.shape[:-1])


def _is_sparse(tensor: Tensor) -> bool:
    return tensor.layout in _SPARSE


def _meetings(left: Tensor, right: Tensor) -> int:
    """Return the pairs of stored elements, a column of `left` with the row of `right` of the same number."""
    columns, rows = (operand.detach().to_sparse_coo().coalesce().indices() for operand in (left, right))
    inner = left.shape[1]
    met = torch.bincount(columns[1], minlength=inner) * torch.bincount(rows[0], minlength=inner)
    return int(met.sum())


def _lengths(batch: Tensor) -> list[int]:
    """Return the tokens of each sample; a nested batch, made from a padding mask, has its own for each."""
    if batch.is_nested:
        return [int(size[0]) for size in batch._nested_tensor_size()]
    return [batch.shape[1]] * batch.shape[0]
