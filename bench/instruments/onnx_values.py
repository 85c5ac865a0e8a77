"""Small values that follow from a graph's constants and shapes, such as how often a loop runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.instruments.onnx_operators import DEFAULT_DOMAINS
from bench.instruments.onnx_reading import Shape

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]

_MAX_VALUES = 64
_MAX_DEPTH = 50
_GROWING = {"ConstantOfShape": 0, "Expand": 1}  # the input that says how large the output is
_ARITHMETIC = """
    Abs Add And Cast Ceil Concat ConstantOfShape Div Equal Expand Floor Gather Greater GreaterOrEqual Identity
    Less LessOrEqual Max Min Mod Mul Neg Not Or ReduceMax ReduceMin ReduceProd ReduceSum Reshape Slice Sqrt
    Squeeze Sub Unsqueeze Where
"""


class Values:
    """The values of a graph, found when asked for; `outer` has those of the graph around it."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        shape_of: Callable[[str], Shape | None],
        outer: Values | None = None,
        opset: int = 1,
    ) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._inputs = {entry.name for entry in graph.input}
        self._shape_of = shape_of
        self._outer = outer
        self._found: dict[str, Array | None] = {}
        self._opset: int = outer._opset if outer is not None else opset

    def of(self, name: str, depth: int = 0) -> Array | None:
        """Return a tensor's value, None where it depends on what goes in, or is not small."""
        if name not in self._found:
            self._found[name] = self._find(name, depth)
        return self._found[name]

    def _find(self, name: str, depth: int) -> Array | None:
        if name in self._constants and (name not in self._inputs or self._outer is None):
            return _small(self._constants[name])
        if name in self._inputs or depth > _MAX_DEPTH:
            return None
        if name not in self._producers:
            return self._outer.of(name, depth + 1) if self._outer is not None else None
        try:
            return self._produced(self._producers[name], name, depth)
        except Exception:  # a node that is not as its operator is defined
            return None

    def same(self, name: str, other: str) -> bool:
        """Say whether one tensor is another, handed on unchanged."""
        for _ in range(_MAX_DEPTH):
            if name == other:
                return True
            node = self._producers.get(name)
            if node is None or (node.op_type, node.domain) != ("Identity", ""):
                return False
            name = node.input[0]
        return False

    def _produced(self, node: onnx.NodeProto, name: str, depth: int) -> Array | None:
        if node.domain not in DEFAULT_DOMAINS:
            return None
        if node.op_type == "Constant":
            return _constant(node)
        if node.op_type in ("Shape", "Size"):
            shape = self._shape_of(node.input[0])
            if shape is None:
                return None
            if node.op_type == "Size":
                return np.asarray(np.prod(shape, dtype=np.int64))
            return np.asarray(shape[slice(*_ends(node))], dtype=np.int64)
        if node.op_type not in _ARITHMETIC.split():
            return None
        values = [self.of(each, depth + 1) if each else None for each in node.input]
        if any(value is None for value, each in zip(values, node.input, strict=True) if each):
            return None
        size = values[_GROWING[node.op_type]] if node.op_type in _GROWING else None
        if size is not None and np.prod(size, dtype=np.float64) > _MAX_VALUES:
            return None
        return _evaluated(node, values, name, self._opset)


def _ends(node: onnx.NodeProto) -> tuple[int, int | None]:
    given = {attribute.name: attribute.i for attribute in node.attribute}
    return given.get("start", 0), given.get("end")


def _small(tensor: onnx.TensorProto) -> Array | None:
    import onnx

    if np.prod(tensor.dims, dtype=np.int64) > _MAX_VALUES or tensor.data_location == tensor.EXTERNAL:
        return None
    value: Array = onnx.numpy_helper.to_array(tensor)
    return value


def _constant(node: onnx.NodeProto) -> Array | None:
    import onnx

    (attribute,) = node.attribute
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return _small(value)
    if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
        return np.asarray(value) if np.size(value) <= _MAX_VALUES else None
    return None


def _evaluated(node: onnx.NodeProto, values: list[Array | None], name: str, opset: int) -> Array | None:
    """Run one node by ONNX's reference implementation."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    known = {each: value for each, value in zip(node.input, values, strict=True) if value is not None}
    inputs = [
        onnx.helper.make_tensor_value_info(
            each, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for each, value in known.items()
    ]
    graph = onnx.helper.make_graph([node], "one", inputs, [onnx.helper.make_empty_tensor_value_info(name)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    (result,) = ReferenceEvaluator(model).run([name], known)
    return np.asarray(result) if np.size(result) <= _MAX_VALUES else None
