"""An ONNX file as a graph, read without its weights, at the sizes that it is to run at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]

_MAX_NODES = 1_000_000
# Shapes, axes and other numbers that inference reads are few; weights are not.
_MAX_VALUES = 1024


class GraphError(ValueError):
    """A file that cannot be counted as asked; the message says why, in words for the user."""


def read_light(path: Path) -> onnx.ModelProto:
    """Return a file's graph without the numbers of its weights, which need not be there.

    Its local functions are written out. Raises GraphError where that makes it too large, and where nothing is
    returned.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    if not model.graph.output:
        raise GraphError("it holds no graph that returns anything")
    for tensor in tensors(model):
        _lighten(tensor, path.parent)
    return _inlined(model)


def graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and those in its nodes, however deep."""
    yield graph
    for node in graph.node:
        for inner in graphs_of(node):
            yield from all_graphs(inner)


def parts_of(model: onnx.ModelProto) -> tuple[list[onnx.GraphProto], list[onnx.NodeProto]]:
    """Return all graphs and nodes of a file, those of functions and inner graphs too."""
    nodes = [node for function in model.functions for node in function.node]
    outer = [model.graph, *(graph for node in nodes for graph in graphs_of(node))]
    graphs = [inner for graph in outer for inner in all_graphs(graph)]
    return graphs, nodes + [node for graph in graphs for node in graph.node]


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield all tensors that a file holds: initializers, and those in the attributes of nodes."""
    graphs, nodes = parts_of(model)
    for graph in graphs:
        yield from graph.initializer
        yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor.values
            yield from attribute.tensors


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that a file uses."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return what a graph takes when it runs: old files list their weights as inputs too."""
    weights = {weight.name for weight in graph.initializer}
    return [entry for entry in graph.input if entry.name not in weights]


def shape_of(value: onnx.ValueInfoProto) -> Shape | None:
    """Return a tensor's shape, None where its rank or a size is not known."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    dimensions = value.type.tensor_type.shape.dim
    if any(map(_is_open, dimensions)):
        return None
    return tuple(dimension.dim_value for dimension in dimensions)


def bind_sizes(graph: onnx.GraphProto, shape: Sequence[int], batch_size: int) -> None:
    """Give the first input this shape, and other inputs this batch where they leave it open.

    An open size has its value wherever its name occurs. Raises GraphError where the input has another shape.
    """
    values: dict[str, int] = {}
    for position, entry in enumerate(inputs_of(graph)):
        if not entry.type.HasField("tensor_type"):
            continue
        kind = entry.type.tensor_type
        first = bool(shape) and position == 0
        if first and not kind.HasField("shape"):
            kind.shape.dim.extend(type(kind.shape).Dimension() for _ in shape)
        elif first and not _fits(kind.shape.dim, shape):
            wanted = ", ".join(map(_size, kind.shape.dim))
            raise GraphError(f"its input {entry.name!r} must be of shape ({wanted}), got {tuple(shape)}")
        for dimension, size in zip(kind.shape.dim, shape if first else (batch_size,), strict=False):
            if dimension.dim_param:
                values.setdefault(dimension.dim_param, size)
            elif _is_open(dimension):
                dimension.dim_value = size
    for each in all_graphs(graph):
        for value in (*each.input, *each.value_info, *each.output):
            for dimension in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
                if dimension.dim_param in values:
                    dimension.dim_value = values[dimension.dim_param]


def described(value: onnx.ValueInfoProto) -> str:
    """Return an input's name and sizes, as `x (1, 3, height, ?)`."""
    kind = value.type.tensor_type
    sizes = ", ".join(map(_size, kind.shape.dim)) if kind.HasField("shape") else "?"
    return f"{value.name} ({sizes})"


def _size(dimension: onnx.TensorShapeProto.Dimension) -> str:
    return dimension.dim_param or "?" if _is_open(dimension) else str(dimension.dim_value)


def _is_open(dimension: onnx.TensorShapeProto.Dimension) -> bool:
    return not dimension.HasField("dim_value") or dimension.dim_value < 0  # -1 is how some exporters say so


def _fits(dimensions: Sequence[onnx.TensorShapeProto.Dimension], shape: Sequence[int]) -> bool:
    return len(dimensions) == len(shape) and all(
        _is_open(dimension) or dimension.dim_value == size
        for dimension, size in zip(dimensions, shape, strict=True)
    )


def _lighten(tensor: onnx.TensorProto, folder: Path) -> None:
    """Read a few numbers that lie in another file, and drop many that lie in this one."""
    import onnx

    few = prod(tensor.dims) <= _MAX_VALUES
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        if few:
            # Where they cannot be read, inference goes on without them.
            with suppress(OSError, ValueError, onnx.checker.ValidationError):
                onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
                tensor.data_location = onnx.TensorProto.DEFAULT
                tensor.ClearField("external_data")
    elif not few and tensor.data_type != onnx.TensorProto.INT64:
        for kept in ("raw_data", "float_data", "double_data", "int32_data", "uint64_data"):
            tensor.ClearField(kept)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx.inliner

    if not model.functions:
        return model
    bodies = {(each.domain, each.name, each.overload): each.node for each in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        if depth > len(bodies):
            raise GraphError("its functions call themselves")
        total = 0
        for node in nodes:
            name = (node.domain, node.op_type, node.overload)
            if name in bodies and name not in sizes:
                sizes[name] = size(bodies[name], depth + 1)
            total += sizes.get(name, 1) + sum(size(graph.node, depth) for graph in graphs_of(node))
        return total

    if size(model.graph.node, 0) > _MAX_NODES:
        raise GraphError(f"its functions come to more than {_MAX_NODES:,} nodes")
    return onnx.inliner.inline_local_functions(model)
