"""Shapes of a graph where ONNX's own inference has none: after operators of ONNX Runtime, and in loops.

A stand-in is a node that ONNX knows, put beside one that it does not, with the same output: inference takes
the shape from it. What is returned has none left.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from bench.instruments.onnx_folding import fold_sizes
from bench.instruments.onnx_reading import Shape, all_graphs, graphs_of, opset_of, shape_of

if TYPE_CHECKING:
    import onnx

_MARK = f"stand-in {uuid.uuid4().hex}"  # no file can hold this name

# Each layer whose sizes are computed takes a pass or two.
_MAX_PASSES = 500

_SAME_SHAPE = """
    BiasAdd BiasDropout BiasGelu BiasSoftmax BitmaskBiasDropout BitmaskDropout DequantizeLinear FastGelu Gelu
    GroupNorm QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QuantizeLinear QuickGelu RotaryEmbedding
    ScaledSiLU SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization
"""
"""Operators of `com.microsoft` whose first output has the shape of their first input."""

# ONNX Runtime takes these in ONNX's own domain, in files of versions that do not define them.
_OF_ANY_VERSION = ("LayerNormalization", "SimplifiedLayerNormalization")

_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_STANDARD = {
    "DynamicQuantizeLSTM": ("LSTM", (0, 1, 2), ("hidden_size", "direction")),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1), ()),
    "EmbedLayerNormalization": ("Gather", (2, 0), ()),
    "FusedConv": ("Conv", (0, 1), _WINDOW),
    "FusedGemm": ("Gemm", (0, 1), ("transA", "transB")),
    "GemmFastGelu": ("MatMul", (0, 1), ()),
    "MatMulInteger16": ("MatMul", (0, 1), ()),
    "MatMulIntegerToFloat": ("MatMul", (0, 1), ()),
    "QGemm": ("Gemm", (0, 3), ("transA", "transB")),
    "QLinearAdd": ("Add", (0, 3), ()),
    "QLinearAveragePool": ("AveragePool", (0,), (*_WINDOW, "ceil_mode", "count_include_pad")),
    "QLinearConv": ("Conv", (0, 3), _WINDOW),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,), ()),
    "QLinearMul": ("Mul", (0, 3), ()),
}
"""Operators of `com.microsoft`: whose shape they have, of which inputs, with which attributes."""


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer all shapes again from those of the inputs; what the file says of other tensors is dropped.

    What a loop carries keeps its shape where the body, given that shape, returns it.
    """
    import onnx

    for graph in all_graphs(model.graph):
        for entry in graph.input if graph is not model.graph else ():
            entry.doc_string = _MARK if shape_of(entry) is None else ""
    _add_stand_ins(model.graph)
    for each in count(1):
        _forget(model.graph)
        # A graph that is not as ONNX defines it keeps the shapes that were inferred until then: none.
        with suppress(Exception):
            model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        if _drop_false(model.graph):
            continue
        if each >= _MAX_PASSES or not fold_sizes(model.graph, shapes_in, opset_of(model)):
            break
    for graph in all_graphs(model.graph):
        _replace(graph, [node for node in graph.node if node.name != _MARK])
    return model


def shapes_in(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Return the shapes that are known of a graph's own tensors."""
    found: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found |= {tensor.values.name: tuple(tensor.dims) for tensor in graph.sparse_initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = shape_of(value)
        if shape is not None:
            found.setdefault(value.name, shape)
    return found


def _forget(graph: onnx.GraphProto) -> None:
    for each in all_graphs(graph):
        del each.value_info[:]
        for value in (*each.output, *(entry for entry in each.input if entry.doc_string == _MARK)):
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")


def _replace(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    if len(nodes) != len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)


def _add_stand_ins(graph: onnx.GraphProto) -> None:
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for inner in graphs_of(node):
            _add_stand_ins(inner)
        if (node.domain, node.op_type) == ("", "Loop"):
            _assume_carried(node)
        nodes.append(node)
        with suppress(IndexError, KeyError, ValueError):  # not as its operator is defined, or unknown sizes
            nodes.extend(_stand_ins(node, weights))
    _replace(graph, nodes)


def _assume_carried(loop: onnx.NodeProto) -> None:
    for body in graphs_of(loop):
        inside = [
            _node("Identity", [start], entry.name)
            for start, entry in zip(loop.input[2:], body.input[2:], strict=False)
        ]
        _replace(body, [*inside, *body.node])


def _stand_ins(node: onnx.NodeProto, weights: dict[str, Shape]) -> Iterator[onnx.NodeProto]:
    """Yield nodes whose outputs are of the shapes of this one's."""
    if (node.domain, node.op_type) == ("", "Loop"):
        for start, after in zip(node.input[2:], node.output, strict=False):
            yield _node("Identity", [start], after)
    elif not node.domain and node.op_type in _OF_ANY_VERSION:
        yield _node("Identity", node.input[:1], node.output[0])
    elif node.domain == "com.microsoft":
        attributes = {entry.name: entry for entry in node.attribute}
        if "channels_last" not in attributes or not attributes["channels_last"].i:
            yield from _of_runtime(node, attributes, weights)


def _of_runtime(
    node: onnx.NodeProto, attributes: dict[str, onnx.AttributeProto], weights: dict[str, Shape]
) -> Iterator[onnx.NodeProto]:
    name, inputs, out = node.op_type, list(node.input), node.output[0]
    if name in _SAME_SHAPE.split():
        yield _node("Identity", inputs[:1], out)
        if name.startswith("Skip") and len(node.output) > 3:
            yield _node("Identity", inputs[:1], node.output[3])
    elif name in _STANDARD:
        operator, positions, kept = _STANDARD[name]
        taken = [inputs[position] for position in positions]
        yield _node(operator, taken, out, [attributes[each] for each in kept if each in attributes])
    elif name == "QLinearConcat":  # two numbers of the output, three of each input
        yield _node("Concat", inputs[2::3], out, [attributes["axis"]])
    elif name in ("MatMulNBits", "MatMulBnb4"):
        yield from _product(inputs[0], (attributes["K"].i, attributes["N"].i), out)
    elif name in ("FusedMatMul", "TransposeMatMul"):
        turned = {key for key, entry in attributes.items() if entry.i}
        yield from _fused_product(inputs, turned, out, weights)
    elif name in ("Attention", "QAttention") and "qkv_hidden_sizes" not in attributes:
        inner, widths = weights[inputs[1]]
        yield from _product(inputs[0], (inner, widths // 3), out)
    elif name == "MultiHeadAttention" and inputs[2]:
        yield _node("Einsum", [inputs[0], inputs[2]], out, equation="bsh,blv->bsv")
    elif name == "GroupQueryAttention" and inputs[1]:
        yield _node("Identity", inputs[:1], out)


def _product(source: str, weight: Shape, out: str) -> Iterator[onnx.NodeProto]:
    """Yield the product with a weight of this shape, which has no values."""
    import onnx

    if min(weight) > 0:
        value = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=weight)
        yield _node("Constant", [], f"{out} {_MARK}", value=value)
        yield _node("MatMul", [source, f"{out} {_MARK}"], out)


def _fused_product(
    inputs: Sequence[str], turned: set[str], out: str, weights: dict[str, Shape]
) -> Iterator[onnx.NodeProto]:
    if turned & {"transBatchA", "transBatchB"}:
        return
    if "transA" not in turned and len(weights.get(inputs[1], ())) == 2:
        inner, columns = weights[inputs[1]][:: -1 if "transB" in turned else 1]
        yield from _product(inputs[0], (inner, columns), out)
    else:
        left = "...ki" if "transA" in turned else "...ik"
        right = "...jk" if "transB" in turned else "...kj"
        yield _node("Einsum", inputs[:2], out, equation=f"{left},{right}->...ij")


def _node(
    operator: str,
    inputs: Iterable[str],
    output: str,
    attributes: Iterable[onnx.AttributeProto] = (),
    **others: Any,
) -> onnx.NodeProto:
    import onnx

    node = onnx.helper.make_node(operator, list(inputs), [output], name=_MARK, **others)
    node.attribute.extend(attributes)
    return node


def _drop_false(graph: onnx.GraphProto) -> bool:
    """Drop what was assumed of carried values that change their shape; say whether there were any."""
    dropped = False
    for each in all_graphs(graph):
        for node in [node for node in each.node if (node.domain, node.op_type) == ("", "Loop")]:
            for body in graphs_of(node):
                shapes = shapes_in(body)
                carried = zip(body.input[2:], body.output[1:], node.output, strict=False)
                for entry, returned, after in [tuple(names) for names in carried]:
                    if shapes.get(entry.name) != shapes.get(returned.name):
                        dropped |= _drop(body, entry.name)
                        dropped |= _drop(each, after)
    return dropped


def _drop(graph: onnx.GraphProto, output: str) -> bool:
    kept = [node for node in graph.node if node.name != _MARK or output not in node.output]
    found = len(kept) != len(graph.node)
    _replace(graph, kept)
    return found
