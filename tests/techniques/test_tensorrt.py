"""TensorRT without a GPU: the model that it is given, what is asked of it, how its answers are read."""

from __future__ import annotations

import json
import sys
from unittest.mock import MagicMock

import onnx
import pytest
import torch
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions
from torch import nn

from techniques.backends import tensorrt
from techniques.backends.kernels import kernels_of_format
from techniques.backends.protocol import Numerics
from techniques.backends.tensorrt import EngineProgram, TensorRt
from techniques.registry import CannotApply


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)).eval()


@pytest.mark.parametrize(
    ("precision", "stored"), [("tf32", "FLOAT"), ("bf16", "BFLOAT16"), ("fp16", "FLOAT16")]
)
def test_tensorrt_is_given_a_model_in_the_numbers_that_it_is_to_compute_in(tmp_path, precision, stored):
    tensorrt.export(net(), torch.randn(4, 3, 8, 8), Numerics(None, precision), tmp_path / "model.onnx")
    weights = onnx.load(tmp_path / "model.onnx").graph.initializer
    types = {onnx.TensorProto.DataType.Name(weight.data_type) for weight in weights}
    assert types - {"INT64"} == {stored}


def test_tensorrts_int8_has_no_offsets_no_quantized_bias_and_the_models_outputs(tmp_path):
    batch, path, numerics = torch.randn(4, 3, 8, 8), tmp_path / "model.onnx", Numerics("int8-static", "fp32")
    tensorrt.export(net(), batch, numerics, path)
    tensorrt.quantize(path, numerics, [torch.randn(64, 3, 8, 8)], len(batch))
    graph = onnx.load(path).graph
    values = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.initializer}
    offsets = [values[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert offsets and not any(offset.any() for offset in offsets)
    assert all(value.dtype != "int32" for value in values.values())
    # Without optimizations the numbers are dequantized first: no int8 product of this CPU takes part.
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
    cosine = nn.functional.cosine_similarity(torch.from_numpy(output), net()(batch))
    assert cosine.min() >= 0.98
    with pytest.raises(CannotApply, match="from fp32, not from fp16"):
        tensorrt.quantize(path, Numerics("int8-static", "fp16"), [], 4)


def fake_tensorrt(parses: bool = True) -> MagicMock:
    """Return what stands in for the package: it parses or does not, and builds an engine of one byte."""
    fake = MagicMock()
    fake.Builder.return_value.build_serialized_network.return_value = b"E"
    fake.NetworkDefinitionCreationFlag.STRONGLY_TYPED = 1
    parser = fake.OnnxParser.return_value
    parser.parse_from_file.return_value = parses
    parser.get_error.return_value.desc.return_value = "no such operator"
    return fake


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_an_engine_may_use_tf32_where_it_is_asked_for_alone(monkeypatch, tmp_path, precision):
    fake = fake_tensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    TensorRt().lower(net(), torch.randn(4, 3, 8, 8), Numerics(None, precision), [], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [tensorrt.ENGINE]
    config = fake.Builder.return_value.create_builder_config.return_value
    assert config.clear_flag.called == (precision == "fp32")
    fake.Builder.return_value.create_network.assert_called_with(0b10)


def test_a_model_that_tensorrt_cannot_read_is_skipped_with_its_reason(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(parses=False))
    with pytest.raises(CannotApply, match="no such operator"):
        tensorrt.build_engine(tmp_path / "model.onnx", allow_tf32=False)


def test_an_engine_reads_the_batch_where_it_lies_and_tells_if_it_did_not_start():
    context, stream, buffer = MagicMock(), MagicMock(cuda_stream=7), torch.zeros(4, 10, dtype=torch.float16)
    program = EngineProgram(
        MagicMock(), context, stream, "x", {"y": buffer}, torch.float16, torch.device("cpu")
    )
    prepared = program.prepare(torch.randn(4, 3))
    assert program.to_tensor(program(prepared)).dtype == torch.float32
    context.set_tensor_address.assert_called_with("x", prepared.data_ptr())
    context.execute_async_v3.assert_called_with(7)
    context.execute_async_v3.return_value = False
    with pytest.raises(RuntimeError, match="could not start"):
        program(prepared)


XMMA = "sm80_xmma_fprop_implicit_gemm_"


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (
            {"LayerType": "CaskConvolution", "TacticName": XMMA + "f32f32_tf32f32_f32_nhwc"},
            "Convolution tf32",
        ),
        ({"LayerType": "CaskConvolution", "TacticName": XMMA + "i8i8_i8i32_f32_nchw"}, "Convolution int8"),
        ({"LayerType": "gemm", "TacticName": "sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn"}, "MatMul fp8"),
        ({"LayerType": "gemm", "TacticName": "sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn"}, "MatMul bf16"),
        ({"LayerType": "gemm", "TacticName": "0x1", "Inputs": [{"Format/Datatype": "Half"}]}, "MatMul fp16"),
        # From version 11 on
        ({"LayerType": "gemm", "TacticName": "0x1", "Inputs": [{"DataType": "Int8"}]}, "MatMul int8"),
        ({"LayerType": "Convolution", "Inputs": [{"Format": "Row major linear FP32"}]}, "Convolution fp32"),
        ({"LayerType": "Reformat", "Inputs": [{"Format/Datatype": "Int8"}]}, None),
        ("a name, of an engine without detail", None),
    ],
)
def test_an_engines_products_are_read_with_the_numbers_that_they_multiply(layer, expected):
    found = tensorrt.kernels_of_engine(json.dumps({"Layers": [layer]}))
    products = [name for name in found if name.startswith(("Convolution ", "MatMul "))]
    assert products == ([expected] if expected else [])
    assert kernels_of_format("int8-static", found) == ([expected] if "int8" in (expected or "") else [])
