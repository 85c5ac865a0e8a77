"""The operators that have a formula, and how one call of them is counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from bench.instruments import flop_formulas as f

_FORMULAS: tuple[tuple[f.Formula, str, str], ...] = (
    (f.product, "aten", "mm bmm mv linear matmul hspmm _int_mm _scaled_mm _scaled_mm_v2 mkldnn_linear"),
    (f.product, "aten", "_sparse_mm _sparse_sparse_matmul _dyn_quant_matmul_4bit"),
    (f.reduced_product, "aten", "_sparse_mm_reduce_impl"),
    (f.product, "aten", "_weight_int8pack_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu"),
    (f.product, "aten", "_weight_int4pack_mm_with_scales_and_zeros _mixed_dtypes_linear"),
    (f.product, "aten", "fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation"),
    (f.product, "aten", "fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation"),
    (f.product, "aten", "_wrapped_quantized_linear_prepacked"),
    (f.product, "quantized", "matmul linear linear_relu linear_leaky_relu linear_tanh linear_dynamic"),
    (f.product, "quantized", "linear_relu_dynamic linear_dynamic_fp16 linear_relu_dynamic_fp16"),
    (f.product, "quantized", "linear_dynamic_fp16_unpacked_weight int4mm_packed_weight_cpu"),
    (f.product, "quantized", "linear_with_input_q_dq_qweight_dq_output_fp32"),
    (f.product, "quantized", "linear_with_input_q_dq_qweight_dq_relu_output_fp32"),
    (f.product, "_quantized", "linear linear_dynamic wrapped_quantized_linear"),
    (f.product, "_quantized", "_wrapped_quantized_linear_prepacked wrapped_fbgemm_linear_fp16_weight"),
    (f.product, "onednn", "qlinear_pointwise qlinear_dynamic linear_dynamic_fp16 linear_relu_dynamic_fp16"),
    (f.product, "mkldnn", "_linear_pointwise"),
    (f.product, "mkl", "_mkl_linear"),
    (f.added, "aten", "addmm addmm_ addmv addmv_ baddbmm baddbmm_ _addmm_activation sspaddmm _sparse_addmm"),
    (f.sampled_product, "aten", "sparse_sampled_addmm"),
    (f.product_backward, "aten", "matmul_backward"),
    (f.linear_backward, "aten", "linear_backward mkldnn_linear_backward"),
    (f.linear_backward_input, "aten", "mkldnn_linear_backward_input"),
    (f.linear_backward_weights, "aten", "mkldnn_linear_backward_weights"),
    (f.euclidean_distances, "aten", "_euclidean_dist"),
    (f.affine_grid, "aten", "affine_grid_generator cudnn_affine_grid_generator"),
    (f.dot, "aten", "dot vdot"),
    (f.vecdot, "aten", "linalg_vecdot"),
    (f.outer, "aten", "ger outer addr addr_ kron"),
    (f.embedding_bag, "aten", "_embedding_bag _embedding_bag_forward_only"),
    (
        f.embedding_bag,
        "quantized",
        "embedding_bag_byte embedding_bag_4bit embedding_bag_2bit_rowwise_offsets",
    ),
    (f.embedding_bag, "quantized", "embedding_bag_byte_rowwise_offsets embedding_bag_4bit_rowwise_offsets"),
    (f.embedding_bag_backward(8), "aten", "_embedding_bag_dense_backward"),
    (f.embedding_bag_backward(10), "aten", "_embedding_bag_backward"),
    (f.sample_weights_backward, "aten", "_embedding_bag_per_sample_weights_backward"),
    (f.addbmm, "aten", "addbmm addbmm_"),
    (f.grouped_mm, "aten", "_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2"),
    (f.foreach_mm, "aten", "_foreach_mm"),
    (f.foreach_mm, "_native", "_foreach_mm_native_0"),
    (f.convolution, "aten", "convolution _convolution convolution_overrideable"),
    (f.plain_convolution, "aten", "mkldnn_convolution cudnn_convolution cudnn_convolution_relu"),
    (f.plain_convolution, "aten", "cudnn_convolution_add_relu miopen_convolution miopen_convolution_relu"),
    (f.plain_convolution, "aten", "miopen_convolution_add_relu miopen_depthwise_convolution"),
    (f.plain_convolution, "aten", "_mps_convolution _nnpack_spatial_convolution"),
    (f.plain_convolution, "aten", "_slow_conv2d_forward slow_conv3d_forward slow_conv_dilated2d"),
    (f.plain_convolution, "aten", "slow_conv_dilated3d _conv_depthwise2d conv_depthwise3d"),
    (f.plain_convolution, "mkldnn", "_convolution_pointwise"),
    (f.sum_convolution, "mkldnn", "_convolution_pointwise_"),
    (f.transposed_convolution, "aten", "cudnn_convolution_transpose miopen_convolution_transpose"),
    (f.transposed_convolution, "aten", "_mps_convolution_transpose"),
    (f.transposed_convolution, "aten", "slow_conv_transpose2d slow_conv_transpose3d"),
    (f.transposed_convolution, "mkldnn", "_convolution_transpose_pointwise"),
    (f.convolution_backward, "aten", "convolution_backward convolution_backward_overrideable"),
    (f.slow_convolution_backward, "aten", "_slow_conv2d_backward"),
    (f.conv_tbc, "aten", "conv_tbc"),
    (f.packed_convolution, "quantized", "conv1d conv2d conv3d conv1d_relu conv2d_relu conv3d_relu"),
    (f.packed_convolution, "quantized", "conv1d_dynamic conv2d_dynamic conv3d_dynamic"),
    (f.packed_convolution, "_quantized", "conv2d conv2d_relu conv3d conv3d_relu"),
    (f.packed_sum_convolution, "quantized", "conv2d_add conv2d_add_relu"),
    (f.packed_transposed_convolution, "quantized", "conv_transpose1d conv_transpose2d conv_transpose3d"),
    (f.packed_transposed_convolution, "quantized", "conv_transpose1d_dynamic conv_transpose2d_dynamic"),
    (f.packed_transposed_convolution, "quantized", "conv_transpose3d_dynamic"),
    (f.packed_transposed_convolution, "_quantized", "conv_transpose1d conv_transpose2d"),
    (f.pointwise_qconv, "onednn", "qconv_pointwise qconv1d_pointwise qconv2d_pointwise qconv3d_pointwise"),
    (f.attention, "aten", "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"),
    (f.attention, "aten", "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention"),
    (f.attention, "aten", "_scaled_dot_product_fused_attention_overrideable"),
    (f.attention, "aten", "_scaled_dot_product_attention_math_for_mps _triton_scaled_dot_attention"),
    (f.attention_backward, "aten", "_scaled_dot_product_flash_attention_for_cpu_backward"),
    (f.attention_backward, "aten", "_scaled_dot_product_flash_attention_backward"),
    (f.attention_backward, "aten", "_scaled_dot_product_efficient_attention_backward"),
    (f.attention_backward, "aten", "_scaled_dot_product_cudnn_attention_backward"),
    (f.attention_backward, "aten", "_scaled_dot_product_fused_attention_overrideable_backward"),
    (f.multi_head_attention, "aten", "_native_multi_head_attention"),
    (f.encoder_layer, "aten", "_transformer_encoder_layer_fwd"),
    (f.rnn_layer, "aten", "mkldnn_rnn_layer"),
    (f.rnn_layer_backward, "aten", "mkldnn_rnn_layer_backward"),
    (f.rnn, "aten", "_cudnn_rnn miopen_rnn"),
    (f.rnn_backward, "aten", "_cudnn_rnn_backward miopen_rnn_backward"),
    (f.lstm_of_mps, "aten", "_lstm_mps"),
    (f.quantized_rnn(4), "aten", "quantized_lstm"),
    (f.quantized_rnn(3), "aten", "quantized_gru"),
    (f.quantized_cell(4), "quantized", "quantized_lstm_cell_dynamic"),
    (f.quantized_cell(3), "quantized", "quantized_gru_cell_dynamic"),
    (f.quantized_cell(1), "quantized", "quantized_rnn_relu_cell_dynamic quantized_rnn_tanh_cell_dynamic"),
)


_NESTED = (f.multi_head_attention, f.encoder_layer)
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
    if formulas().get(packet) is not f.attention_backward:
        return 0
    return _of_samples(f.recomputed_scores, out, args, kwargs)


def _of_samples(formula: f.Formula, out: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Apply a formula; to each sample by itself where operands are nested batches of unequal ones."""
    nested = [value for value in (out, *args) if isinstance(value, torch.Tensor) and value.is_nested]
    if not nested or formula in _NESTED:
        return formula(out, *args, **kwargs)
    parts = [_samples(value, len(nested[0].unbind())) for value in (out, *args)]
    return sum(formula(*sample, **kwargs) for sample in zip(*parts, strict=True))


def _real_operations(out: Any, args: Iterable[object]) -> int:
    """Return 4 for complex products, else 1: a complex multiply-add is 8 real operations, a real one 2."""
    operands = [each for value in (out, *args) for each in (value if isinstance(value, list) else [value])]
    return 4 if any(isinstance(each, torch.Tensor) and each.is_complex() for each in operands) else 1


def _samples(value: Any, count: int) -> Iterable[Any]:
    nested = isinstance(value, torch.Tensor) and value.is_nested
    return value.unbind() if nested else [value] * count


def _is_packet(operator: object) -> bool:
    return isinstance(operator, torch._ops.OpOverloadPacket)


@cache
def formulas() -> Mapping[Any, f.Formula]:
    """Return the formulas by operator; operators that this PyTorch does not have are left out."""
    found: dict[Any, f.Formula] = {}
    for formula, namespace, names in _FORMULAS:
        for name in names.split():
            operator = getattr(getattr(torch.ops, namespace), name, None)
            if operator is not None:
                found[operator] = formula
    return found


def is_whole_layer(packet: Any) -> bool:
    """Say whether an operator is a layer of several weights, each of which takes part once a token."""
    return formulas().get(packet) in (*_NESTED, f.rnn_layer, f.rnn, f.lstm_of_mps)
