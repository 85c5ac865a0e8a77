"""The weights of an ONNX file, wherever it holds them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from bench.instruments.onnx_reading import parts_of

if TYPE_CHECKING:
    import onnx


def onnx_parameter_counts(path: Path) -> tuple[int, int | None]:
    """Return how many numbers a file's weights are, and how many of them are not zero.

    The second is None where a weight lies in another file. Weights are initializers and the tensors of
    Constant nodes, of functions and inner graphs too. Shapes and indices (64-bit integers), truth
    values and the single numbers of Constant nodes (the 0.5 of a GELU) are none.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    total, nonzero, outside = 0, 0, False
    for tensor in _weights(model):
        total += prod(tensor.dims)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            outside = True
        else:
            nonzero += int((onnx.numpy_helper.to_array(tensor) != 0).sum())
    return total, None if outside else nonzero


def _weights(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    import onnx

    no_weights = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING)
    yield from (tensor for tensor in _constants(model) if tensor.data_type not in no_weights)


def _constants(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    graphs, nodes = parts_of(model)
    for graph in graphs:
        yield from graph.initializer
        yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in nodes:
        if node.op_type == "Constant":
            yield from _of_constant(node)


def _of_constant(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    import onnx

    for attribute in node.attribute:
        if attribute.name == "value" and attribute.t.dims:
            yield attribute.t
        elif attribute.name == "sparse_value":
            yield attribute.sparse_tensor.values
        elif attribute.name == "value_floats":
            numbers = list(attribute.floats)
            yield onnx.helper.make_tensor("", onnx.TensorProto.FLOAT, [len(numbers)], numbers)
