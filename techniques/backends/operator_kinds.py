"""What the operators in a runtime's profile do: multiply in low or full precision, convert numbers, or call.

Runtimes name their operators differently; a name is all that is known of one. Imports no runtime.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, Literal

Kind = Literal["low", "full", "conversion", "call", "generated", "other"]
"""`low` and `full` multiply matrices, in int8, int4, fp8 or 2:4 sparse, or in floats. `conversion`: from one
number format or layout to another. `call`: dispatch, views and allocation, no arithmetic. `generated`: code
of a compiler that the profile does not tell apart."""

OUTSIDE: Final = "(outside operators)"
"""Stands for the time of a call that none of its operators accounts for."""

_ATEN_CALLS = """
    _conj _convolution _local_scalar_dense _reshape_alias _to_cpu _unsafe_view alias as_strided
    as_strided_ chunk conj contiguous conv1d conv2d conv3d convolution detach detach_ dropout empty
    empty_like empty_strided expand expand_as flatten is_nonzero item layer_norm lift_fresh linear matmul
    max_pool2d movedim multi_head_attention narrow numpy_T permute reshape reshape_as resize_ resolve_conj
    resolve_neg result_type scaled_dot_product_attention select set_ slice softmax split squeeze squeeze_
    t to transpose transpose_ unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze unsqueeze_ view
    view_as
"""
_CALL = frozenset(_ATEN_CALLS.split())

_LOW = re.compile(
    r"^(aten::)?_(int_mm|scaled_(grouped_)?mm|weight_int[48]pack_mm|cslt_sparse_mm|sparse_semi_structured\w*)"
    r"|^(onednn::|_)q(linear|conv)|^quantized::(linear|conv)"
    r"|^torchao::\w*(linear|mm)"
    r"|^(QLinear(Conv|MatMul)|(Conv|MatMul)Integer|DynamicQuantize(MatMul|LSTM)|MatMulIntegerToFloat|QGemm"
    r"|QAttention|MatMulNBits)$"
    r"|^(Convolution|FullyConnected\w*|MatMul) (\w*_[iu]8|u?int\d.*|fp8)$"
    r"|^FullyConnectedCompressed ",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"^aten::(addmm|mm|bmm|baddbmm|addmv|mv|dot|mkldnn_convolution|mkldnn_linear|thnn_conv2d"
    r"|_slow_conv2d_forward|slow_conv\w*|_nnpack_spatial_convolution|_native_multi_head_attention"
    r"|_transformer_encoder_layer_fwd|_scaled_dot_product_\w+|lstm|gru|cudnn_convolution\w*)$"
    r"|^_(linear|convolution)_pointwise|^(mkldnn|mkl)::_(linear|convolution|mkl_linear)\w*|^(mkldnn|mkl)__?(linear|convolution|mkl_linear)\w*"
    r"|^(Fused|Nhwc)*(Conv|ConvTranspose|Gemm|MatMul|Attention|MultiHeadAttention|LSTM|GRU)$"
    r"|^(Convolution|GroupConvolution|Deconvolution|FullyConnected|MatMul|ScaledDotProductAttention\w*)( |$)"
)
_CONVERSION = re.compile(
    r"quantize|choose_qparams|^aten::(_to_copy|copy_|clone)$"
    r"|^(Cast|Reorder(Input|Output)?|Convert|Transpose)\b|^undelegated (_to_dim_order_copy|clone)",
    re.IGNORECASE,
)
_OF_EXECUTORCH = ("Method::execute", "DELEGATE_CALL", "OPERATOR_CALL")
_GENERATED = ("cpp_", "triton_")

_OF_TORCH: Mapping[str, str] = {
    "int8-dynamic": "linear layers",
    "int8-weight": "linear layers with inputs that 16 divides and more than 8 outputs",
    "int4-weight": "linear layers with inputs that 32 divides and outputs that 16 divides",
}
_TAKEN: Mapping[str, Mapping[str, str]] = {
    "cpu-eager": _OF_TORCH,
    "cpu-inductor": {**_OF_TORCH, "int8-static": "convolutions and linear layers"},
    "onnxruntime": {
        "int8-dynamic": "products with constant matrices, and convolutions",
        "int4-weight": "products with constant matrices",
    },
    "openvino": {
        "int8-dynamic": "linear layers",
        "int8-weight": "linear layers",
        "int4-weight": "linear layers whose inputs are groups of 32",
    },
    "executorch": {"int8-dynamic": "linear layers", "int8-static": "convolutions and linear layers"},
}


def layers_taken(backend: str, format_: str) -> str:
    """Say which layers a format's kernels take on a backend; empty where nothing is known to be left out."""
    return _TAKEN.get(backend.partition(":")[0], {}).get(format_, "")


def kind_of_operator(name: str, kernels: Collection[str] = ()) -> Kind:
    """Classify an operator by its name in a profile.

    `kernels` are the kernels of the same model with their numbers, as `Program.kernels` lists them: where a
    profile's own name leaves out that weights are compressed, they tell.
    """
    if name == OUTSIDE:
        return "generated" if any(kernel.startswith(_GENERATED) for kernel in kernels) else "call"
    if name in _OF_EXECUTORCH or name.removeprefix("aten::") in _CALL:
        return "call"
    if name.startswith(_GENERATED):
        return "generated"
    if _LOW.search(name):
        return "low"
    if _FULL.search(name):
        return "low" if _weights_are_low(name, kernels) else "full"
    return "conversion" if _CONVERSION.search(name) else "other"


def converts(kernel: str) -> bool:
    """Say whether a kernel that a compiler generated converts numbers, by the operators fused in it."""
    rounds = "_to_copy" in kernel and "clamp" in kernel
    return kernel.startswith(_GENERATED) and ("quantize" in kernel or rounds)


def _weights_are_low(name: str, kernels: Collection[str]) -> bool:
    """Say whether all products of this layer type have low-precision weights, as OpenVINO lists them."""
    layer = name.partition(" ")[0]
    numbers = {kernel.partition(" ")[2] for kernel in kernels if kernel.startswith(f"{layer} ")}
    return bool(numbers) and all(number.startswith("int") for number in numbers)
