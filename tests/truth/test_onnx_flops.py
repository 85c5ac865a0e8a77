"""Known answers for ONNX files: the same models as the counter of operators, and nodes made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from bench.instruments import flops
from bench.instruments.onnx_flops import count_onnx
from techniques.backends.onnx_runtime import OnnxRuntime
from techniques.backends.protocol import Numerics


def lowered(model: nn.Module, example: torch.Tensor, folder: Path, format_: str | None = None) -> Path:
    OnnxRuntime().lower(model.eval(), example, Numerics(format_, "fp32"), [example] * 2, folder)
    return folder / "model.onnx"


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, stride=2, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.Flatten(),
        nn.Linear(6 * 36, 10),
    )


CONVOLUTIONAL = 2 * 5 * (9 * 9 * 2 * 8 + 9 * 8 * 6 * 4 + 216 * 10)


@pytest.mark.parametrize("format_", [None, "int8-dynamic", "int8-static"])
def test_a_convolutional_model_counts_in_every_format(tmp_path: Path, format_: str | None) -> None:
    example = torch.randn(5, 4, 6, 6)
    counted = count_onnx(lowered(convolutional(), example, tmp_path, format_))
    assert counted.unknown == ()
    assert counted.total == CONVOLUTIONAL


def test_an_encoder_counts_as_in_pytorch(tmp_path: Path) -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 40, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    example = torch.randn(3, 10, 16)
    counted = count_onnx(lowered(model, example, tmp_path))
    assert counted.unknown == ()
    with torch.no_grad():
        assert counted.total == flops.count(lambda: model(example)).total


def made(node: onnx.NodeProto, inputs: dict[str, tuple[int, ...]], folder: Path) -> Path:
    """Write a file of one node; its output's shape is left to inference."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    out = helper.make_empty_tensor_value_info("y")
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("strange", 1)]
    graph = helper.make_graph([node], "one", values, [out])
    path = folder / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports), str(path))
    return path


@pytest.mark.parametrize(
    ("node", "inputs", "expected"),
    [
        (helper.make_node("MatMul", ["a", "b"], ["y"]), {"a": (4, 5, 7), "b": (4, 7, 3)}, 2 * 4 * 5 * 7 * 3),
        (helper.make_node("MatMul", ["a", "b"], ["y"]), {"a": (5, 7), "b": (7,)}, 2 * 5 * 7),
        (helper.make_node("Gemm", ["a", "b"], ["y"], transA=1), {"a": (7, 5), "b": (7, 3)}, 2 * 5 * 7 * 3),
        (
            helper.make_node("Einsum", ["a", "b"], ["y"], equation="bij,bjk->bik"),
            {"a": (4, 5, 7), "b": (4, 7, 3)},
            2 * 4 * 5 * 7 * 3,
        ),
        (
            helper.make_node("LSTM", ["a", "w", "r"], ["y"], hidden_size=20, direction="bidirectional"),
            {"a": (5, 3, 12), "w": (2, 80, 12), "r": (2, 80, 20)},
            2 * 5 * 3 * 2 * 80 * 32,
        ),
        (
            helper.make_node("Attention", ["a", "k", "v"], ["y"], q_num_heads=4, kv_num_heads=2),
            {"a": (2, 10, 32), "k": (2, 13, 16), "v": (2, 13, 16)},
            2 * 2 * 4 * 10 * 13 * (8 + 8),
        ),
    ],
)
def test_nodes_made_by_hand(node, inputs, expected: int, tmp_path: Path) -> None:
    counted = count_onnx(made(node, inputs, tmp_path))
    assert (counted.unknown, counted.total) == ((), expected)


def test_what_has_no_formula_is_named(tmp_path: Path) -> None:
    foreign = helper.make_node("Mystery", ["a"], ["y"], domain="strange")
    assert count_onnx(made(foreign, {"a": (2, 3)}, tmp_path)).unknown == ("strange.Mystery",)


def by_weights(path: Path) -> int:
    """Two FLOPs for each weight: what comes to mind first."""
    return 2 * sum(math.prod(weight.dims) for weight in onnx.load(path).graph.initializer)


def by_stored_shapes(path: Path) -> int:
    """Products whose shapes the file holds, without inferring what it does not."""
    graph = onnx.load(path).graph
    known = {info.name: [size.dim_value for size in info.type.tensor_type.shape.dim] for info in graph.output}
    return sum(math.prod(known.get(node.output[0], [0])) for node in graph.node if node.op_type == "Conv")


def test_neither_weights_nor_the_shapes_that_a_file_holds_tell_its_flops(tmp_path: Path) -> None:
    path = lowered(convolutional(), torch.randn(5, 4, 6, 6), tmp_path)
    assert count_onnx(path).total == CONVOLUTIONAL
    for naive in (by_weights, by_stored_shapes):
        assert naive(path) != pytest.approx(CONVOLUTIONAL, rel=0.01)
