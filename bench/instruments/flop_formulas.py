"""FLOPs of the operators that multiply and add, from the shapes they are called with: 2 a multiply-add.

They take the output, then the operator's arguments. Padding, causal masks and zeros count as dense, as in
torch.utils.flop_counter, whose formulas these replace: it has none for attention on the CPU, the fused
encoder layer, LSTM, matrix-vector products and products in place, and multiplies the backward of a grouped
convolution by its groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import prod
from typing import Any

import torch

Formula = Callable[..., int]

_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
Tensor = torch.Tensor


def product(out: Tensor, left: Tensor, /, *others: object, **__: object) -> int:
    """Matrix product whose inner dimension is the left operand's last: mm, bmm, mv, linear, packed or not.

    Of a sparse operand each element that is stored takes part, and no other.
    """
    right = others[0] if others else None
    if _is_sparse(left):
        return 2 * _stored(left) * (out.shape[-1] if out.dim() == left.dim() else 1)
    if isinstance(right, Tensor) and _is_sparse(right):
        return 2 * _stored(right) * prod(left.shape[:-1])
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


def convolution_backward(_: object, grad: Tensor, inputs: Tensor, weight: Tensor, *settings: Any) -> int:
    """Each gradient, of the inputs and of the weights, takes as many multiply-adds as the forward."""
    transposed, wanted = settings[4], settings[7]
    return convolve(inputs if transposed else grad, weight) * (wanted[0] + wanted[1])


def conv_tbc(out: Tensor, _: Tensor, weight: Tensor, *__: object) -> int:
    return 2 * out.numel() * weight.shape[0] * weight.shape[1]


def packed_convolution(out: Tensor, _: Tensor, packed: Any, *__: object) -> int:
    return convolve(out, packed.unpack()[0])


def pointwise_qconv(
    out: Tensor, _x: object, _scale: object, _zero: object, weight: Tensor, *__: object
) -> int:
    return convolve(out, weight)


def attention(_: object, query: Tensor, key: Tensor, value: Tensor, *__: object, **___: object) -> int:
    """Two products: query with key, scores with value. Keys that query heads share count for each head."""
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


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


def _is_sparse(tensor: Tensor) -> bool:
    return tensor.layout in _SPARSE


def _stored(tensor: Tensor) -> int:
    values = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()
    return values.numel()


def _lengths(batch: Tensor) -> list[int]:
    """Return the tokens of each sample; a nested batch, made from a padding mask, has its own for each."""
    if batch.is_nested:
        return [int(size[0]) for size in batch._nested_tensor_size()]
    return [batch.shape[1]] * batch.shape[0]


_FORMULAS: tuple[tuple[Formula, str, str], ...] = (
    (product, "aten", "mm bmm mv linear matmul _int_mm _scaled_mm mkldnn_linear _dyn_quant_matmul_4bit"),
    (
        product,
        "aten",
        "_weight_int8pack_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu _mixed_dtypes_linear",
    ),
    (
        product,
        "aten",
        "fbgemm_linear_fp16_weight fbgemm_linear_int8_weight _wrapped_quantized_linear_prepacked",
    ),
    (
        product,
        "quantized",
        "linear linear_relu linear_leaky_relu linear_tanh linear_dynamic linear_relu_dynamic",
    ),
    (product, "quantized", "linear_dynamic_fp16 linear_relu_dynamic_fp16"),
    (product, "onednn", "qlinear_pointwise qlinear_dynamic"),
    (product, "mkldnn", "_linear_pointwise"),
    (product, "mkl", "_mkl_linear"),
    (product, "aten", "_sparse_mm"),
    (added, "aten", "_sparse_addmm"),
    (added, "aten", "addmm addmm_ addmv addmv_ baddbmm baddbmm_ _addmm_activation"),
    (dot, "aten", "dot vdot"),
    (outer, "aten", "ger outer addr addr_"),
    (addbmm, "aten", "addbmm addbmm_"),
    (grouped_mm, "aten", "_grouped_mm"),
    (foreach_mm, "aten", "_foreach_mm"),
    (convolution, "aten", "convolution _convolution convolution_overrideable"),
    (
        plain_convolution,
        "aten",
        "cudnn_convolution mkldnn_convolution _slow_conv2d_forward slow_conv3d_forward",
    ),
    (plain_convolution, "aten", "slow_conv_dilated2d slow_conv_dilated3d _conv_depthwise2d conv_depthwise3d"),
    (plain_convolution, "mkldnn", "_convolution_pointwise"),
    (convolution_backward, "aten", "convolution_backward convolution_backward_overrideable"),
    (conv_tbc, "aten", "conv_tbc"),
    (packed_convolution, "quantized", "conv1d conv2d conv3d conv1d_relu conv2d_relu conv3d_relu"),
    (pointwise_qconv, "onednn", "qconv_pointwise qconv2d_pointwise"),
    (attention, "aten", "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"),
    (attention, "aten", "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention"),
    (attention, "aten", "_scaled_dot_product_fused_attention_overrideable"),
    (attention, "aten", "_scaled_dot_product_attention_math_for_mps"),
    (attention_backward, "aten", "_scaled_dot_product_flash_attention_for_cpu_backward"),
    (attention_backward, "aten", "_scaled_dot_product_flash_attention_backward"),
    (attention_backward, "aten", "_scaled_dot_product_efficient_attention_backward"),
    (attention_backward, "aten", "_scaled_dot_product_cudnn_attention_backward"),
    (attention_backward, "aten", "_scaled_dot_product_fused_attention_overrideable_backward"),
    (multi_head_attention, "aten", "_native_multi_head_attention"),
    (encoder_layer, "aten", "_transformer_encoder_layer_fwd"),
    (rnn_layer, "aten", "mkldnn_rnn_layer"),
    (rnn_layer_backward, "aten", "mkldnn_rnn_layer_backward"),
    (rnn, "aten", "_cudnn_rnn"),
    (rnn_backward, "aten", "_cudnn_rnn_backward"),
)


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


_COMPUTES = re.compile(
    r"(add|b|badd|addb|sspadd|hs|s|ge)?mm|(ge|add)?mv|matmul|(tensor|v|vec)?dot|ger|addr|inner|outer|einsum"
    r"|(q|thnn)?conv(olution)?(\d?d|tbc)?|q?linear|attention|encoder|rnn|lstm|gru|(cu)?fft|[cp]dist"
    r"|linalg|svd|qr|orgqr|ormqr|cholesky|(sp)?solve|p?inverse|lu"
)
_COMPUTES_NOT = re.compile(
    r"upsample|pack$|pack_|prepack|convert|quantize|reorder|_cell|flatten|plan_cache|fftfreq|fftshift|mode$"
    r"|combination|slice_inverse|lu_unpack|_norm|powsum|linalg_cross|linalg_diagonal|check_errors|params"
)
_SILENT = {
    "prim",
    "prims",
    "profiler",
    "rngprims",
    "debugprims",
    "inductor_prims",
    "quantized_decomposed",
    "c10d",
}
_OURS_TO_KNOW = {"aten", "quantized", "_quantized", "onednn", "mkldnn", "mkl", "sparse"}


def looks_like_compute(namespace: str, name: str) -> bool:
    """Say whether an operator without a formula may multiply and add; one of an unknown library may."""
    if namespace in _SILENT or _COMPUTES_NOT.search(name):
        return False
    if namespace not in _OURS_TO_KNOW:
        return True
    return name == "_trilinear" or any(_COMPUTES.fullmatch(word) for word in name.split("_"))
