"""FLOPs of the operators that multiply and add, from the shapes they are called with: 2 a multiply-add.

They take the output, then the operator's arguments. Padding, causal masks and zeros count as dense, as in
torch.utils.flop_counter, whose formulas these replace: it has none for attention on the CPU, the fused
encoder layer, LSTM, matrix-vector products and products in place, and multiplies the backward of a grouped
convolution by its groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from bench.instruments.tensors import stored_elements

Formula = Callable[..., int]

_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
Tensor = torch.Tensor


def product(out: Tensor, left: Tensor, /, *others: object, **__: object) -> int:
    """Matrix product whose inner dimension is the left operand's last: mm, bmm, mv, linear, packed or not.

    Of a sparse operand each element that is stored takes part, and no other; of two of them, each pair of
    stored elements that meet.
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
    return 2 * left.numel()


def outer(out: Tensor, /, *_: object, **__: object) -> int:
    return 2 * out.numel()


def addbmm(_: Tensor, __: Tensor, left: Tensor, right: Tensor, /, **___: object) -> int:
    return 2 * left.numel() * right.shape[-1]


def grouped_mm(out: Tensor, left: Tensor, right: Tensor, /, *_: object, **__: object) -> int:
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
    return 2 * grad.numel() * inputs.shape[-1] * (wanted[0] + wanted[1])


def linear_backward_input(_: object, _size: object, grad: Tensor, weight: Tensor, /) -> int:
    return 2 * grad.numel() * weight.shape[-1]


def linear_backward_weights(_: object, grad: Tensor, inputs: Tensor, /, *__: object) -> int:
    return 2 * grad.numel() * inputs.shape[-1]


def euclidean_distances(out: Tensor, left: Tensor, _right: object, /, **__: object) -> int:
    """One product, of [-2x, |x|², 1] with [y, 1, |y|²]: what `cdist` does with more than 25 rows."""
    return 2 * out.numel() * (left.shape[-1] + 2)


def affine_grid(out: Tensor, theta: Tensor, /, *_: object, **__: object) -> int:
    """Each point of the grid takes the matrix once."""
    return 2 * out.numel() * theta.shape[-1]


def foreach_mm(outs: Iterable[Tensor], lefts: Iterable[Tensor], /, *_: object, **__: object) -> int:
    return sum(product(out, left) for out, left in zip(outs, lefts, strict=True))


def convolve(positions: Tensor, weight: Tensor) -> int:
    """Each position (sample and pixel) takes every weight once, however many groups there are."""
    return 2 * (positions.numel() // positions.shape[1]) * weight.numel()


def convolution(
    out: Tensor, inputs: Tensor, weight: Tensor, _bias: object, /, *settings: Any, **__: object
) -> int:
    transposed = settings[3]
    return convolve(inputs if transposed else out, weight)


def plain_convolution(out: Tensor, _: Tensor, weight: Tensor, /, *__: object, **___: object) -> int:
    return convolve(out, weight)


def transposed_convolution(_: object, inputs: Tensor, weight: Tensor, /, *__: object, **___: object) -> int:
    return convolve(inputs, weight)


def convolution_backward(_: object, grad: Tensor, inputs: Tensor, weight: Tensor, *settings: Any) -> int:
    """Each gradient, of the inputs and of the weights, takes as many multiply-adds as the forward."""
    transposed, wanted = settings[4], settings[7]
    return convolve(inputs if transposed else grad, weight) * (wanted[0] + wanted[1])


def slow_convolution_backward(
    _: object, grad: Tensor, _inputs: object, weight: Tensor, *settings: Any
) -> int:
    return convolve(grad, weight) * (settings[3][0] + settings[3][1])


def conv_tbc(out: Tensor, _: Tensor, weight: Tensor, *__: object) -> int:
    return 2 * out.numel() * weight.shape[0] * weight.shape[1]


def packed_convolution(out: Tensor, _: Tensor, packed: Any, *__: object) -> int:
    return convolve(out, packed.unpack()[0])


def sum_convolution(out: Tensor, _: Tensor, _inputs: Tensor, weight: Tensor, *__: object) -> int:
    return convolve(out, weight)


def packed_sum_convolution(out: Tensor, _: Tensor, _added: Tensor, packed: Any, *__: object) -> int:
    return convolve(out, packed.unpack()[0])


def packed_transposed_convolution(_: object, inputs: Tensor, packed: Any, *__: object) -> int:
    return convolve(inputs, packed.unpack()[0])


def pointwise_qconv(
    out: Tensor, _x: object, _scale: object, _zero: object, weight: Tensor, *__: object
) -> int:
    return convolve(out, weight)


def attention(_: object, query: Tensor, key: Tensor, value: Tensor, *__: object, **___: object) -> int:
    """Two products: query with key, scores with value. Keys that query heads share count for each head."""
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
    return 2 * rnn_layer(None, inputs, from_input, from_hidden)


def rnn(_: object, inputs: Tensor, weights: Iterable[Tensor], *__: object) -> int:
    return 2 * prod(inputs.shape[:-1]) * sum(weight.numel() for weight in weights if weight.dim() == 2)


def rnn_backward(_: object, inputs: Tensor, weights: Iterable[Tensor], *settings: Any) -> int:
    return rnn(None, inputs, weights) * (1 + bool(settings[-1][3]))


def lstm_of_mps(_: object, inputs: Tensor, _state: object, weights: Iterable[Tensor], *__: object) -> int:
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
    def formula(_: object, inputs: Tensor, state: Any, *__: object, **___: object) -> int:
        hidden = (state if isinstance(state, Tensor) else state[0]).shape[-1]
        return 2 * prod(inputs.shape[:-1]) * gates * hidden * (inputs.shape[-1] + hidden)

    return formula


def is_whole_layer(packet: Any) -> bool:
    """Say whether an operator is a layer of several weights, each of which takes part once a token."""
    return formulas().get(packet) in (*_NESTED, rnn_layer, rnn, lstm_of_mps)


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


_FORMULAS: tuple[tuple[Formula, str, str], ...] = (
    (product, "aten", "mm bmm mv linear matmul hspmm _int_mm _scaled_mm _scaled_mm_v2 mkldnn_linear"),
    (product, "aten", "_sparse_mm _sparse_sparse_matmul _dyn_quant_matmul_4bit"),
    (reduced_product, "aten", "_sparse_mm_reduce_impl"),
    (product, "aten", "_weight_int8pack_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu"),
    (product, "aten", "_weight_int4pack_mm_with_scales_and_zeros _mixed_dtypes_linear"),
    (product, "aten", "fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation"),
    (product, "aten", "fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation"),
    (product, "aten", "_wrapped_quantized_linear_prepacked"),
    (product, "quantized", "matmul linear linear_relu linear_leaky_relu linear_tanh linear_dynamic"),
    (product, "quantized", "linear_relu_dynamic linear_dynamic_fp16 linear_relu_dynamic_fp16"),
    (product, "quantized", "linear_dynamic_fp16_unpacked_weight int4mm_packed_weight_cpu"),
    (product, "quantized", "linear_with_input_q_dq_qweight_dq_output_fp32"),
    (product, "quantized", "linear_with_input_q_dq_qweight_dq_relu_output_fp32"),
    (product, "_quantized", "linear linear_dynamic wrapped_quantized_linear"),
    (product, "_quantized", "_wrapped_quantized_linear_prepacked wrapped_fbgemm_linear_fp16_weight"),
    (product, "onednn", "qlinear_pointwise qlinear_dynamic linear_dynamic_fp16 linear_relu_dynamic_fp16"),
    (product, "mkldnn", "_linear_pointwise"),
    (product, "mkl", "_mkl_linear"),
    (added, "aten", "addmm addmm_ addmv addmv_ baddbmm baddbmm_ _addmm_activation sspaddmm _sparse_addmm"),
    (sampled_product, "aten", "sparse_sampled_addmm"),
    (product_backward, "aten", "matmul_backward"),
    (linear_backward, "aten", "linear_backward mkldnn_linear_backward"),
    (linear_backward_input, "aten", "mkldnn_linear_backward_input"),
    (linear_backward_weights, "aten", "mkldnn_linear_backward_weights"),
    (euclidean_distances, "aten", "_euclidean_dist"),
    (affine_grid, "aten", "affine_grid_generator cudnn_affine_grid_generator"),
    (dot, "aten", "dot vdot"),
    (outer, "aten", "ger outer addr addr_"),
    (addbmm, "aten", "addbmm addbmm_"),
    (grouped_mm, "aten", "_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2"),
    (foreach_mm, "aten", "_foreach_mm"),
    (foreach_mm, "_native", "_foreach_mm_native_0"),
    (convolution, "aten", "convolution _convolution convolution_overrideable"),
    (plain_convolution, "aten", "mkldnn_convolution cudnn_convolution cudnn_convolution_relu"),
    (plain_convolution, "aten", "cudnn_convolution_add_relu miopen_convolution miopen_convolution_relu"),
    (plain_convolution, "aten", "miopen_convolution_add_relu miopen_depthwise_convolution"),
    (plain_convolution, "aten", "_mps_convolution _nnpack_spatial_convolution"),
    (plain_convolution, "aten", "_slow_conv2d_forward slow_conv3d_forward slow_conv_dilated2d"),
    (plain_convolution, "aten", "slow_conv_dilated3d _conv_depthwise2d conv_depthwise3d"),
    (plain_convolution, "mkldnn", "_convolution_pointwise"),
    (sum_convolution, "mkldnn", "_convolution_pointwise_"),
    (transposed_convolution, "aten", "cudnn_convolution_transpose miopen_convolution_transpose"),
    (transposed_convolution, "aten", "_mps_convolution_transpose"),
    (transposed_convolution, "aten", "slow_conv_transpose2d slow_conv_transpose3d"),
    (transposed_convolution, "mkldnn", "_convolution_transpose_pointwise"),
    (convolution_backward, "aten", "convolution_backward convolution_backward_overrideable"),
    (slow_convolution_backward, "aten", "_slow_conv2d_backward"),
    (conv_tbc, "aten", "conv_tbc"),
    (packed_convolution, "quantized", "conv1d conv2d conv3d conv1d_relu conv2d_relu conv3d_relu"),
    (packed_convolution, "quantized", "conv1d_dynamic conv2d_dynamic conv3d_dynamic"),
    (packed_convolution, "_quantized", "conv2d conv2d_relu conv3d conv3d_relu"),
    (packed_sum_convolution, "quantized", "conv2d_add conv2d_add_relu"),
    (packed_transposed_convolution, "quantized", "conv_transpose1d conv_transpose2d conv_transpose3d"),
    (packed_transposed_convolution, "quantized", "conv_transpose1d_dynamic conv_transpose2d_dynamic"),
    (packed_transposed_convolution, "quantized", "conv_transpose3d_dynamic"),
    (packed_transposed_convolution, "_quantized", "conv_transpose1d conv_transpose2d"),
    (pointwise_qconv, "onednn", "qconv_pointwise qconv1d_pointwise qconv2d_pointwise qconv3d_pointwise"),
    (attention, "aten", "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"),
    (attention, "aten", "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention"),
    (attention, "aten", "_scaled_dot_product_fused_attention_overrideable"),
    (attention, "aten", "_scaled_dot_product_attention_math_for_mps _triton_scaled_dot_attention"),
    (attention_backward, "aten", "_scaled_dot_product_flash_attention_for_cpu_backward"),
    (attention_backward, "aten", "_scaled_dot_product_flash_attention_backward"),
    (attention_backward, "aten", "_scaled_dot_product_efficient_attention_backward"),
    (attention_backward, "aten", "_scaled_dot_product_cudnn_attention_backward"),
    (attention_backward, "aten", "_scaled_dot_product_fused_attention_overrideable_backward"),
    (multi_head_attention, "aten", "_native_multi_head_attention"),
    (encoder_layer, "aten", "_transformer_encoder_layer_fwd"),
    (rnn_layer, "aten", "mkldnn_rnn_layer"),
    (rnn_layer_backward, "aten", "mkldnn_rnn_layer_backward"),
    (rnn, "aten", "_cudnn_rnn miopen_rnn"),
    (rnn_backward, "aten", "_cudnn_rnn_backward miopen_rnn_backward"),
    (lstm_of_mps, "aten", "_lstm_mps"),
    (quantized_rnn(4), "aten", "quantized_lstm"),
    (quantized_rnn(3), "aten", "quantized_gru"),
    (quantized_cell(4), "quantized", "quantized_lstm_cell_dynamic"),
    (quantized_cell(3), "quantized", "quantized_gru_cell_dynamic"),
    (quantized_cell(1), "quantized", "quantized_rnn_relu_cell_dynamic quantized_rnn_tanh_cell_dynamic"),
)


_NESTED = (multi_head_attention, encoder_layer)
"""Formulas that know nested batches; the others see one sample at a time."""


@cache
def has_formula(namespace: str, name: str) -> bool:
    """Say whether an operator is counted, by a formula of ours or of torch.utils.flop_counter."""
    ours = {(space, operator) for _, space, names in _FORMULAS for operator in names.split()}
    theirs = {tuple(packet._qualified_op_name.split("::")) for packet in flop_registry if _is_packet(packet)}
    return (namespace, name) in ours or (namespace, name) in theirs


def flops_of(packet: Any, out: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Count one call of an operator that has a formula. Raises whatever a formula does of other arguments."""
    ours = formulas().get(packet)
    if ours is None:
        return int(flop_registry[packet](*args, **kwargs, out_val=out))
    return _of_samples(ours, out, args, kwargs) * _real_operations(out, args)


def recomputed_of(packet: Any, out: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Return the part of that count that repeats what the forward pass did: the scores of attention."""
    if formulas().get(packet) is not attention_backward:
        return 0
    return _of_samples(recomputed_scores, out, args, kwargs)


def _of_samples(formula: Formula, out: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Apply a formula; to each sample by itself where operands are nested batches of unequal ones."""
    nested = [value for value in (out, *args) if isinstance(value, Tensor) and value.is_nested]
    if not nested or formula in _NESTED:
        return formula(out, *args, **kwargs)
    parts = [_samples(value, len(nested[0].unbind())) for value in (out, *args)]
    return sum(formula(*sample, **kwargs) for sample in zip(*parts, strict=True))


def _real_operations(out: Any, args: Iterable[object]) -> int:
    """Return 4 for complex products, else 1: a complex multiply-add is 8 real operations, a real one 2."""
    tensors = [value for value in (out, *args) if isinstance(value, Tensor)]
    return 4 if any(tensor.is_complex() for tensor in tensors) else 1


def _samples(value: Any, count: int) -> Iterable[Any]:
    nested = isinstance(value, Tensor) and value.is_nested
    return value.unbind() if nested else [value] * count


def _is_packet(operator: object) -> bool:
    return isinstance(operator, torch._ops.OpOverloadPacket)


@cache
def formulas() -> Mapping[Any, Formula]:
    """Return the formulas by operator; operators that this PyTorch does not have are left out."""
    found: dict[Any, Formula] = {}
    for formula, namespace, names in _FORMULAS:
        for name in names.split():
            operator = getattr(getattr(torch.ops, namespace), name, None)
            if operator is not None:
                found[operator] = formula
    return found
