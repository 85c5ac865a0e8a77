"""Small ONNX files for the tests, and what they count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.instruments.onnx_flops import count_onnx

Sizes = Sequence[int | str] | None
DOMAINS = {"": 23, "com.microsoft": 1, "ai.onnx.ml": 3, "mine": 1}

node = helper.make_node


def value(name: str, shape: Sizes = None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def number(name: str, what: int | bool) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(what), name)


def runtime(operator: str, inputs: Sequence[str], outputs: Sequence[str], **settings: object):
    return node(operator, inputs, outputs, domain="com.microsoft", **settings)


def write(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sizes] | Iterable[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    **more: object,
) -> Path:
    """Write a file that returns the last node's first output, of a shape that is not noted."""
    values = [value(*item) for item in inputs.items()] if isinstance(inputs, Mapping) else list(inputs)
    graph = helper.make_graph(nodes, "g", values, [value(nodes[-1].output[0])], list(weights))
    imports = [helper.make_opsetid(domain, version) for domain, version in DOMAINS.items()]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, **more), str(path))
    return path


def body(nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]) -> onnx.GraphProto:
    kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "goes": TensorProto.BOOL}

    def typed(name: str) -> onnx.ValueInfoProto:
        return value(name, [] if name in kinds else None, kinds.get(name, TensorProto.FLOAT))

    return helper.make_graph(nodes, "body", [*map(typed, inputs)], [*map(typed, outputs)])


def counted(path: Path, *shape: int) -> tuple[int, tuple[str, ...]]:
    flops = count_onnx(path, shape)
    return flops.total, flops.unknown
