"""FLOPs of an ONNX file, by a walk over its graph after shape inference: 2 for each multiply-add."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.instruments.onnx_formulas import FORMULAS, Call, NotCountable
from bench.instruments.onnx_operators import DEFAULT_DOMAINS, full_name, kind_of
from bench.instruments.onnx_reading import (
    Shape,
    bind_sizes,
    described,
    graphs_of,
    inputs_of,
    opset_of,
    read_light,
)
from bench.instruments.onnx_shapes import infer_shapes, shapes_in
from bench.instruments.onnx_values import Values
from bench.instruments.tally import FlopCount

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class OnnxCount:
    """The FLOPs of one run of a file, and its inputs, as `x (1, 3, 224, 224)`."""

    flops: FlopCount
    inputs: tuple[str, ...]


def count_onnx(path: Path, shape: Sequence[int] = (), batch_size: int = 1) -> FlopCount:
    """Count one run of a file's graph; see `count_onnx_file`, also for the errors."""
    return count_onnx_file(path, shape, batch_size).flops


def count_onnx_file(path: Path, shape: Sequence[int] = (), batch_size: int = 1) -> OnnxCount:
    """Count one run of a file's graph, its first input of this shape, open batches of this size.

    Neither reads its weights nor needs them. An operator is unknown where it computes without a formula,
    where its shapes are not known, and where nothing tells how often or which of the graphs in it runs: then
    what is counted is the least that it can be. Raises GraphError where the graph does not take the shape.
    """
    model = read_light(path)
    bind_sizes(model.graph, shape, shape[0] if shape else batch_size)
    noted = shapes_in(model.graph)
    model = infer_shapes(model)
    shapes = shapes_in(model.graph)
    if all(noted[name] == shapes[name] for name in noted.keys() & shapes.keys()):
        shapes = noted | shapes  # else the file's notes are of other sizes
    scope = _Scope(ChainMap(shapes), Values(model.graph, shapes.get, opset=opset_of(model)))
    counted = _graph(model.graph, scope)
    flops = FlopCount(
        sum(counted.by_operator.values()), dict(counted.by_operator), tuple(sorted(counted.unknown))
    )
    return OnnxCount(flops, tuple(map(described, inputs_of(model.graph))))


@dataclass(frozen=True)
class _Scope:
    """What is known where a graph runs: shapes by name, and small values."""

    shapes: MutableMapping[str, Shape]
    values: Values

    def inside(self, graph: onnx.GraphProto) -> _Scope:
        shapes = ChainMap(shapes_in(graph), self.shapes)
        return _Scope(shapes, Values(graph, shapes.get, self.values))


@dataclass(frozen=True)
class _Counted:
    by_operator: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Say whether anything computes."""
        return bool(self.unknown or sum(self.by_operator.values()))

    def add(self, other: _Counted, times: int = 1) -> None:
        self.unknown.update(other.unknown)
        for name, flops in other.by_operator.items():
            self.by_operator[name] += times * flops


def _graph(graph: onnx.GraphProto, scope: _Scope) -> _Counted:
    counted = _Counted()
    for node in graph.node:
        name, kind = full_name(node.domain, node.op_type), kind_of(node.domain, node.op_type)
        if kind == "unknown":
            counted.unknown.add(name)
        elif kind == "graphs":
            counted.add(_inner_graphs(node, name, scope))
        elif kind == "formula":
            _enter(node, name, scope, counted)
        if kind != "graphs":
            for inner in graphs_of(node):
                if _graph(inner, scope.inside(inner)):
                    counted.unknown.add(f"{name} (its graph)")
    return counted


def _inner_graphs(node: onnx.NodeProto, name: str, scope: _Scope) -> _Counted:
    try:
        return _GRAPHS[node.op_type](node, scope)
    except Exception:  # a node that is not as its operator is defined
        return _Counted(unknown={f"{name} (malformed)"})


def _enter(node: onnx.NodeProto, name: str, scope: _Scope, counted: _Counted) -> None:
    formula = FORMULAS["" if node.domain in DEFAULT_DOMAINS else node.domain, node.op_type]
    try:
        counted.by_operator[name] += formula(_call(node, scope))
    except NotCountable as error:
        counted.unknown.add(f"{name} ({error})")
    except Exception:  # a node that is not as its operator is defined
        counted.unknown.add(f"{name} (malformed)")


def _call(node: onnx.NodeProto, scope: _Scope) -> Call:
    return Call(node.input, node.output, _attributes(node), scope.shapes.get, scope.values.of)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    import onnx

    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _branches(node: onnx.NodeProto, scope: _Scope) -> _Counted:
    """The branch that runs, where the condition is known; else what each branch does at least."""
    graphs = {entry.name: entry.g for entry in node.attribute}
    yes, no = (graphs[name] for name in ("then_branch", "else_branch"))
    condition = scope.values.of(node.input[0])
    if condition is not None:
        chosen = yes if condition.all() else no
        return _graph(chosen, scope.inside(chosen))
    fewer, more = sorted(
        (_graph(each, scope.inside(each)) for each in (yes, no)),
        key=lambda counted: sum(counted.by_operator.values()),
    )
    differ = sum(fewer.by_operator.values()) != sum(more.by_operator.values())
    names = more.unknown | ({"If (which branch)"} if differ else set())
    return _Counted(fewer.by_operator, fewer.unknown | names)


def _loop(node: onnx.NodeProto, scope: _Scope) -> _Counted:
    (body,) = graphs_of(node)
    inside = scope.inside(body)
    counted = _graph(body, inside)
    limit, start = (scope.values.of(name) if name else None for name in (*node.input, "", "")[:2])
    goes_on = inside.values.of(body.output[0].name)
    always = (not node.input[1] or (start is not None and start.all())) and (
        inside.values.same(body.output[0].name, body.input[1].name)
        or (goes_on is not None and bool(goes_on.all()))
    )
    return _repeated(counted, int(limit.item()) if limit is not None and always else None, "Loop")


def _scan(node: onnx.NodeProto, scope: _Scope) -> _Counted:
    (body,) = graphs_of(node)
    counted = _graph(body, scope.inside(body))
    attributes = _attributes(node)
    scanned = scope.shapes.get(node.input[-1])
    trips = None
    if scanned is not None and len(node.input) == len(body.input):  # before version 9 there is one more
        axes = attributes.get("scan_input_axes")
        trips = scanned[axes[-1] if axes else 0]
    return _repeated(counted, trips, "Scan")


def _sequence_map(node: onnx.NodeProto, scope: _Scope) -> _Counted:
    (body,) = graphs_of(node)
    return _repeated(_graph(body, scope.inside(body)), None, "SequenceMap")


def _repeated(body: _Counted, trips: int | None, name: str) -> _Counted:
    counted = _Counted()
    if not body:
        return counted
    counted.add(body, max(0, trips or 0))
    if trips is None:
        counted.unknown.add(f"{name} (how often it runs)")
    return counted


_GRAPHS = {"If": _branches, "Loop": _loop, "Scan": _scan, "SequenceMap": _sequence_map}
