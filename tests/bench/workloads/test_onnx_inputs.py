"""ONNX files are served at inputs that they take, at their own batch, or say in one line what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bench.errors import StageError
from bench.models.training import predict
from bench.workloads.given import onnx_file
from bench.workloads.workload import Workload
from techniques.backends.onnx_runtime import OnnxRuntime
from techniques.backends.protocol import Numerics


def weights(*shape: int, dtype: str = "float32", name: str = "W") -> Any:
    return numpy_helper.from_array(np.random.default_rng(0).standard_normal(shape).astype(dtype), name)


def save(path: Path, nodes: list[Any], shape: list[Any], kind: int, *tensors: Any) -> str:
    source = helper.make_tensor_value_info("x", kind, shape)
    result = helper.make_tensor_value_info("y", kind if kind in _FLOATING else TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [source], [result], list(tensors))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


_FLOATING = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_PRODUCT = [helper.make_node("MatMul", ["x", "W"], ["y"])]
_OF_TOKENS = [
    helper.make_node("Cast", ["x"], ["long"], to=TensorProto.INT64),
    helper.make_node("Gather", ["W", "long"], ["each"]),
    helper.make_node("ReduceMean", ["each"], ["y"], axes=[1], keepdims=0),
]
_OF_PIXELS = [
    helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
    helper.make_node("MatMul", ["floats", "W"], ["y"]),
]


def outputs_of(workload: Workload) -> torch.Tensor:
    return predict(workload.model(), workload, workload.data().test_inputs, torch.device("cpu")).main


@pytest.mark.parametrize(
    ("kind", "dtype", "expected"),
    [
        (TensorProto.FLOAT, "float32", torch.float32),
        (TensorProto.FLOAT16, "float16", torch.float16),
        (TensorProto.DOUBLE, "float64", torch.float64),
    ],
)
def test_floats_are_drawn_in_the_type_that_the_file_takes(
    kind: int, dtype: str, expected: torch.dtype, tmp_path: Path
) -> None:
    workload = onnx_file(
        save(tmp_path / "m.onnx", _PRODUCT, ["N", 6], kind, weights(6, 3, dtype=dtype)), True
    )
    inputs = workload.data().test_inputs
    assert inputs.shape == (64, 6) and inputs.dtype == expected
    assert outputs_of(workload).shape == (64, 3)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8])
def test_numbers_of_tokens_are_rows_of_the_table_they_are_looked_up_in(kind: int, tmp_path: Path) -> None:
    workload = onnx_file(save(tmp_path / "m.onnx", _OF_TOKENS, ["N", 8], kind, weights(50, 4)), True)
    inputs = workload.data().test_inputs
    assert inputs.min() == 0 and inputs.max() == 49
    assert outputs_of(workload).shape == (64, 4)


def test_bytes_are_spread_evenly_as_pixels_are(tmp_path: Path) -> None:
    file = save(tmp_path / "m.onnx", _OF_PIXELS, ["N", 64], TensorProto.UINT8, weights(64, 3))
    inputs = onnx_file(file, True).data().test_inputs
    assert inputs.dtype == torch.uint8 and inputs.min() == 0 and inputs.max() == 255


def test_whole_numbers_of_no_known_range_ask_for_a_file_of_inputs(tmp_path: Path) -> None:
    file = save(tmp_path / "m.onnx", _OF_PIXELS, ["N", 6], TensorProto.INT64, weights(6, 3))
    with pytest.raises(StageError, match=r"x of tensor\(int64\) are unknown; .*inputs=samples\.npy"):
        onnx_file(file, True)
    np.save(tmp_path / "samples.npy", np.arange(30).reshape(5, 6))
    workload = onnx_file(file, True, str(tmp_path / "samples.npy"))
    assert torch.equal(workload.data().test_inputs, torch.arange(30).view(5, 6))
    assert outputs_of(workload).shape == (5, 3)


def test_sizes_that_are_open_are_those_of_the_file_of_inputs(tmp_path: Path) -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    file = save(tmp_path / "m.onnx", nodes, ["N", 3, "H", "W"], TensorProto.FLOAT)
    with pytest.raises(StageError, match=r"fixed sizes except for the batch.*inputs=samples\.npy"):
        onnx_file(file, True)
    np.save(tmp_path / "samples.npy", np.ones((5, 3, 4, 4), "float32"))
    assert outputs_of(onnx_file(file, True, str(tmp_path / "samples.npy"))).shape == (5, 3, 1, 1)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.ones((5, 7), "float32"), r"must be tensor\(float\) of shape .*got float32 of shape \[5, 7\]"),
        (np.ones((5, 6), "float64"), r"got float64 of shape \[5, 6\]"),
        (np.array([{}], dtype=object), "cannot be read as a .npy file"),
    ],
)
def test_a_file_of_other_inputs_is_one_line(array: Any, told: str, tmp_path: Path) -> None:
    file = save(tmp_path / "m.onnx", _PRODUCT, ["N", 6], TensorProto.FLOAT, weights(6, 3))
    np.save(tmp_path / "samples.npy", array)
    with pytest.raises(StageError, match=told):
        onnx_file(file, True, str(tmp_path / "samples.npy"))


def test_a_file_of_a_fixed_batch_is_run_at_that_batch(tmp_path: Path) -> None:
    kept = weights(6, 3)
    fixed = onnx_file(save(tmp_path / "fixed.onnx", _PRODUCT, [8, 6], TensorProto.FLOAT, kept), True)
    open_ = onnx_file(save(tmp_path / "open.onnx", _PRODUCT, ["N", 6], TensorProto.FLOAT, kept), True)
    assert (fixed.fixed_batch, open_.fixed_batch) == (8, None)
    torch.testing.assert_close(outputs_of(fixed), outputs_of(open_))
    few = fixed.data().test_inputs[:3]
    torch.testing.assert_close(
        predict(fixed.model(), fixed, few, torch.device("cpu")).main, outputs_of(open_)[:3]
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"not an onnx file at all" * 10, "is not a complete ONNX file"),
        (b"", "ONNX Runtime cannot load it"),
    ],
)
def test_what_is_no_onnx_file_is_one_line(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(StageError, match=told) as raised:
        onnx_file(str(tmp_path / "m.onnx"), True)
    assert len(str(raised.value)) < 500 and "\n" not in str(raised.value)


def test_an_opset_of_the_future_is_told_without_the_runtimes_source(tmp_path: Path) -> None:
    file = save(tmp_path / "m.onnx", _PRODUCT, ["N", 6], TensorProto.FLOAT, weights(6, 3))
    model = onnx.load(file)
    model.opset_import[0].version = 99
    onnx.save(model, file)
    with pytest.raises(StageError, match="Opset 99") as raised:
        onnx_file(file, True)
    assert "std::" not in str(raised.value)


def test_a_file_without_inputs_is_one_line(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["W"], ["y"])],
        "graph",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weights(2, 2)],
    )
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(StageError, match="has no input"):
        onnx_file(str(tmp_path / "m.onnx"), True)


def test_an_lstm_of_int8_is_known_by_its_kernel(tmp_path: Path) -> None:
    from techniques.backends.kernels import kernels_of_format

    class Lstm(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.LSTM(8, 16, batch_first=True)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.inner(batch)[0][:, -1]
            return outputs

    torch.manual_seed(0)
    batch = torch.randn(1, 5, 8)
    OnnxRuntime().lower(Lstm().eval(), batch, Numerics("int8-dynamic", "fp32"), [], tmp_path)
    program = OnnxRuntime().load(tmp_path, Lstm, Numerics("int8-dynamic", "fp32"), 1)
    ran = program.kernels(program.prepare(batch))
    assert [name.partition(" ")[0] for name in kernels_of_format("int8-dynamic", ran)] == [
        "DynamicQuantizeLSTM"
    ]
