"""FLOPs of an ONNX file, by a walk over its graph after shape inference: 2 for each multiply-add."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.instruments.flops import FlopCount

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Call:
    """A node's shapes, in the order of its inputs and outputs, and its attributes."""

    inputs: Sequence[Shape]
    outputs: Sequence[Shape]
    attributes: Mapping[str, Any]


def count_onnx(path: Path) -> FlopCount:
    """Count one run of the graph at the sizes that it was exported with.

    A node is unknown where it has no formula though it computes, where its shapes cannot be inferred, and
    where it holds graphs of its own (If, Loop, Scan) or calls a function.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)), data_prop=True)
    shapes = _shapes(model.graph)
    by_operator: Counter[str] = Counter()
    unknown: set[str] = set()
    for node in model.graph.node:
        formula = _FORMULAS.get(node.op_type)
        if formula is None:
            if node.op_type in _NAMED or node.domain not in _KNOWN_DOMAINS:
                unknown.add(node.op_type)
            continue
        try:
            by_operator[node.op_type] += formula(_call(node, shapes))
        except (KeyError, IndexError):
            unknown.add(f"{node.op_type} (no shape)")
    return FlopCount(sum(by_operator.values()), dict(by_operator), tuple(sorted(unknown)))


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    found: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for info in [*graph.input, *graph.value_info, *graph.output]:
        dimensions = info.type.tensor_type.shape.dim
        if all(dimension.HasField("dim_value") for dimension in dimensions):
            found.setdefault(info.name, tuple(dimension.dim_value for dimension in dimensions))
    return found


def _call(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> _Call:
    import onnx

    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    # An input that is left out has the empty name.
    inputs = [shapes[name] if name else () for name in node.input]
    return _Call(inputs, [shapes[name] for name in node.output if name], attributes)


def _product(call: _Call) -> int:
    return 2 * prod(call.outputs[0]) * call.inputs[0][-1]


def _gemm(call: _Call) -> int:
    return 2 * prod(call.outputs[0]) * call.inputs[0][0 if call.attributes.get("transA") else 1]


def _convolution(weight: int) -> Callable[[_Call], int]:
    """Each output pixel takes every weight once, however many groups there are."""

    def formula(call: _Call) -> int:
        batch, _, *size = call.outputs[0]
        return 2 * batch * prod(size) * prod(call.inputs[weight])

    return formula


def _transposed_convolution(call: _Call) -> int:
    batch, _, *size = call.inputs[0]
    return 2 * batch * prod(size) * prod(call.inputs[1])


def _recurrent(call: _Call) -> int:
    """Each token takes every weight of all gates and directions once."""
    tokens, batch, _ = call.inputs[0]
    return 2 * tokens * batch * (prod(call.inputs[1]) + prod(call.inputs[2]))


def _einsum(call: _Call) -> int:
    equation = call.attributes["equation"].decode().replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if len(terms) != 2 or "." in equation:
        raise KeyError(equation)
    sizes = {
        letter: size
        for term, shape in zip(terms, call.inputs, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    summed = set(sizes) - set(equation.partition("->")[2])
    return 2 * prod(sizes.values()) if summed else 0


def _attention(call: _Call) -> int:
    """Two products: queries with keys, scores with values; of three dimensions the heads lie side by side."""
    query, key, value = call.inputs[:3]
    if len(query) == 4:
        return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    heads, shared = call.attributes["q_num_heads"], call.attributes["kv_num_heads"]
    return 2 * query[0] * query[1] * key[1] * (query[2] + heads * (value[2] // shared))


_FORMULAS: Mapping[str, Callable[[_Call], int]] = {
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Einsum": _einsum,
    "Attention": _attention,
}
# Standard operators that compute more than element by element, and those with graphs of their own.
_NAMED = {"If", "Loop", "Scan", "DFT", "STFT", "Det", "DeformConv", "LinearAttention", "CausalConvWithState"}
_KNOWN_DOMAINS = ("", "ai.onnx")
