"""Operators are told apart by the names that runtimes give them."""

from __future__ import annotations

import pytest

from techniques.backends.operator_kinds import OUTSIDE, kind_of_operator, layers_taken

KINDS = {
    "low": """aten::_int_mm onednn::qlinear_pointwise onednn::qconv2d_pointwise aten::_weight_int8pack_mm
        aten::_weight_int4pack_mm_for_cpu aten::_scaled_mm QLinearConv QGemm MatMulInteger ConvInteger
        _qlinear_pointwise_tensor _int_mm_out
        DynamicQuantizeMatMul MatMulNBits""",
    "full": """_linear_pointwise mkldnn__convolution_pointwise aten::addmm aten::mm aten::bmm
        aten::mkldnn_convolution mkldnn::_linear_pointwise Conv FusedConv Gemm FusedGemm MatMul
        aten::_scaled_dot_product_flash_attention_for_cpu""",
    "conversion": """QuantizeLinear DequantizeLinear DynamicQuantizeLinear Cast ReorderInput ReorderOutput
        aten::_to_copy aten::copy_ quantized_decomposed::quantize_per_tensor
        torchao::choose_qparams_affine Transpose""",
    "call": "aten::linear aten::t aten::view aten::empty aten::as_strided Method::execute DELEGATE_CALL",
    "generated": "cpp_fused_relu_0 triton_poi_fused_add_0",
    "other": "aten::relu Softmax LayerNormalization Relu aten::amax",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in KINDS[kind].split()])
def test_the_kind_of_an_operator_is_told_by_its_name(kind, name):
    assert kind_of_operator(name) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Convolution brgconv_avx512_I8", "low"),
        ("FullyConnected brgemm_avx512_amx_I8", "low"),
        ("FullyConnectedQuantizedLegacy brgemm_avx512_amx_I8", "low"),
        ("FullyConnectedCompressed brgemm_avx512_f32", "low"),
        ("FullyConnected gemm_mlas_f32", "full"),
        ("Convolution int8", "low"),
        ("FullyConnected fp32", "full"),
        ("Reorder jit_uni_F32", "conversion"),
        ("Convert (NC, F32, QD8)", "conversion"),
        ("FakeQuantize jit_avx512_F32", "conversion"),
        ("undelegated quantize_per_tensor", "conversion"),
        ("Subgraph jit_avx512_F32", "other"),
    ],
)
def test_names_with_types_are_told_by_both(name, kind):
    assert kind_of_operator(name) == kind


def test_kernels_tell_compressed_weights_that_a_profile_does_not():
    name = "FullyConnected brgemm_avx512_F32"
    assert kind_of_operator(name, ["FullyConnected int8-weight", "Relu fp32"]) == "low"
    assert kind_of_operator(name, ["FullyConnected int8-weight", "FullyConnected fp32"]) == "full"


def test_time_outside_of_operators_is_calls_unless_a_compiler_made_the_code():
    assert kind_of_operator(OUTSIDE, ["aten::addmm fp32"]) == "call"
    assert kind_of_operator(OUTSIDE, ["cpp_fused_relu_0", "mkldnn__linear_pointwise"]) == "generated"


def test_layers_that_a_format_takes_are_known_with_settings_of_the_backend():
    assert layers_taken("cpu-eager:channels_last=true", "int8-dynamic") == "linear layers"
    assert layers_taken("cpu-xla", "int8-dynamic") == ""
