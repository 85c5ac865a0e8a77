"""Sizes that a graph computes from its own shapes, as exporters do where a batch is open, made constants.

ONNX's inference follows some of that arithmetic (its data propagation has no division, comparison or choice);
here the rest is evaluated, so that what is reshaped by it has a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bench.instruments.onnx_operators import DEFAULT_DOMAINS
from bench.instruments.onnx_reading import Shape, graphs_of
from bench.instruments.onnx_values import Values

if TYPE_CHECKING:
    import onnx

# Inputs, by position, whose values an output's shape depends on.
_SIZES: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}


def fold_sizes(
    graph: onnx.GraphProto,
    shapes_in: Callable[[onnx.GraphProto], dict[str, Shape]],
    opset: int,
    around: tuple[Mapping[str, Shape], Values] | None = None,
) -> bool:
    """Put constants for computed sizes that follow from the shapes known so far; say if there were any.

    Branches of If have theirs folded too. Bodies of loops have not: their shapes are only assumed.
    """
    import onnx

    known = {**(around[0] if around else {}), **shapes_in(graph)}
    values = Values(graph, known.get, around[1] if around else None, opset)
    constants = {weight.name for weight in graph.initializer}
    constants |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    folded = False
    for node in graph.node:
        if node.op_type == "If":
            for branch in graphs_of(node):
                folded |= fold_sizes(branch, shapes_in, opset, (known, values))
        positions = _SIZES.get(node.op_type, ()) if node.domain in DEFAULT_DOMAINS else ()
        for position in positions:
            name = node.input[position] if position < len(node.input) else ""
            value = values.of(name) if name and name not in constants else None
            if value is not None:
                constant = f"{name} folded"
                if constant not in constants:
                    graph.initializer.append(onnx.numpy_helper.from_array(value, constant))
                    constants.add(constant)
                node.input[position] = constant
                folded = True
    return folded
