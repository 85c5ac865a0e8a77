"""A model or a loss as `torch.export` writes it down, and its arrays in another framework."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from techniques.registry import CannotApply


@dataclass(frozen=True)
class Held:
    """A weight or buffer of the model, by its name there."""

    name: str


@dataclass(frozen=True)
class Value:
    """An array of a framework that stands for a tensor of PyTorch.

    `last`: axis 1 of the tensor is the array's last, as frameworks have the channels of images. `order`: of
    features (batch, features) the array's number j is the tensor's number `order[j]`.
    """

    array: Any
    last: bool = False
    order: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True)
class Windows:
    """Where a convolution puts its kernel, as (height, width), and its `groups` of channels."""

    strides: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


class Framework(Protocol):
    """Layers of a framework, each with the weights of the torch module that it stands for.

    Images are (batch, height, width, channels). A layer is made where it is first called; `xp` has the
    functions of arrays, by the names that Keras gives them.
    """

    name: str
    xp: Any

    def constant(self, tensor: torch.Tensor) -> Any:
        """Return a tensor that is no weight as an array."""
        ...

    def weight(self, held: Held) -> Any:
        """Return a weight that is no layer's, such as positions."""
        ...

    def convolution(self, images: Any, weight: Held, bias: Held | None, windows: Windows) -> Any:
        """Return images convolved with a weight (out, in / groups, height, width), zeros around them."""
        ...

    def linear(self, inputs: Any, weight: Held, bias: Held | None, order: np.ndarray[Any, Any] | None) -> Any:
        """Return inputs (..., in) times a weight (out, in) of features in `order`, plus the bias."""
        ...

    def layer_norm(self, inputs: Any, weight: Held | None, bias: Held | None, eps: float) -> Any:
        """Return inputs normalized over their last axis."""
        ...

    def batch_norm(self, inputs: Any, held: Sequence[Held | None], momentum: float, eps: float) -> Any:
        """Return inputs normalized over all axes but the last; `held` are weight, bias, mean and variance."""
        ...

    def embedding(self, tokens: Any, weight: Held) -> Any:
        """Return the rows (..., width) of a weight (tokens, width)."""
        ...

    def max_pool(self, images: Any, size: tuple[int, int], strides: tuple[int, int]) -> Any:
        """Return the largest number of each window."""
        ...

    def average_pool(self, images: Any, size: tuple[int, int], strides: tuple[int, int]) -> Any:
        """Return the mean of each window."""
        ...

    def dropout(self, inputs: Any, rate: float) -> Any:
        """Return inputs of which a share is zero, the rest larger, while the model is trained."""
        ...

    def cross_entropy(self, targets: Any, scores: Any) -> Any:
        """Return the cross-entropy of each of the targets (...) with scores (..., classes)."""
        ...


@dataclass(frozen=True)
class At:
    """Where in an exported program an operator is: the framework, and shapes as PyTorch has them."""

    framework: Framework
    shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    """Of the operator's tensors, in the order of its arguments."""

    @property
    def xp(self) -> Any:
        """Return the framework's functions of arrays."""
        return self.framework.xp

    def plain(self, value: Any) -> Any:
        """Return the array of a value, laid out as PyTorch has it; numbers as they are."""
        if isinstance(value, Held):
            return self.framework.weight(value)
        if not isinstance(value, Value):
            return value
        return plain(self.framework, value)

    def images(self, value: Value) -> Any:
        """Return images (batch, height, width, channels)."""
        if value.last:
            return value.array
        return self.xp.moveaxis(self.plain(value), 1, -1)


def plain(framework: Framework, value: Value) -> Any:
    """Return a value's array, laid out as PyTorch has it."""
    if value.order is not None:
        return framework.xp.take(value.array, np.argsort(value.order), axis=1)
    return framework.xp.moveaxis(value.array, -1, 1) if value.last else value.array


class Exported:
    """The operators of a function of tensors that gives one tensor, as `torch.export` finds them.

    `what` it is goes into the messages. Raises CannotApply where it cannot be exported, or gives something
    else.
    """

    def __init__(self, function: torch.nn.Module, examples: tuple[torch.Tensor, ...], what: str) -> None:
        try:
            program = torch.export.export(function, examples, strict=False)
        except Exception as error:  # whatever the code does that cannot be traced
            first = (str(error).strip().splitlines() or ["no message"])[0]
            raise CannotApply(f"torch.export cannot take {what}: {type(error).__name__}: {first}") from error
        signature = program.graph_signature
        if len(signature.user_outputs) != 1 or not isinstance(signature.user_outputs[0], str):
            raise CannotApply(f"{what} must give one tensor, which goes to another framework")
        self.what = what
        self._held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        constants = signature.inputs_to_lifted_tensor_constants
        self._constants = {name: program.constants[key] for name, key in constants.items()}
        self._inputs = [name for name in signature.user_inputs if isinstance(name, str)]
        by_name = {node.name: node for node in program.graph.nodes}
        self._output = by_name[signature.user_outputs[0]]
        needed = _before(self._output)
        # Not those that only change a buffer: frameworks do that by themselves.
        self._nodes = [node for node in program.graph.nodes if node in needed]
        shapes = [names for name in signature.user_outputs if (names := by_name.get(str(name)))]
        self.output_shape, self.output_type = _shape(shapes[0]), shapes[0].meta["val"].dtype

    @property
    def operators(self) -> frozenset[str]:
        """Return the names of its operators, as `aten.linear.default`."""
        return frozenset(str(node.target) for node in self._nodes if node.op == "call_function")

    def walk(self, framework: Framework, table: Mapping[str, Any], *inputs: Value) -> Any:
        """Return the output's array, laid out as PyTorch has it, from inputs in their order.

        `table` has a function for each operator, called with `At` and the operator's arguments. Raises
        CannotApply for an operator that is not in it.
        """
        given = dict(zip(self._inputs, inputs, strict=True))
        values: dict[torch.fx.Node, Any] = {}
        for node in self._nodes:
            values[node] = (
                self._entering(node.name, given, framework)
                if node.op == "placeholder"
                else self._called(node, framework, table, values)
            )
        return plain(framework, values[self._output])

    def _entering(self, name: str, given: Mapping[str, Value], framework: Framework) -> Any:
        if name in self._constants:
            return Value(framework.constant(self._constants[name]))
        return given[name] if name in given else Held(self._held[name])

    def _called(
        self,
        node: torch.fx.Node,
        framework: Framework,
        table: Mapping[str, Any],
        values: Mapping[torch.fx.Node, Any],
    ) -> Any:
        def value_of(entry: torch.fx.Node) -> Any:
            return values[entry]

        arguments: Any = torch.fx.map_arg(node.args, value_of)
        if node.target is operator.getitem:
            return arguments[0][arguments[1]]
        function = table.get(str(node.target))
        if function is None:
            raise CannotApply(
                f"{framework.name} has no layer here for {node.target}, an operator of {self.what}"
            )
        at = At(framework, _shape(node), tuple(map(_shape, node.all_input_nodes)))
        return function(at, *arguments, **torch.fx.map_arg(node.kwargs, value_of))


def _before(node: torch.fx.Node) -> set[torch.fx.Node]:
    """Return a node and all that its value depends on."""
    found, waiting = {node}, [node]
    while waiting:
        new = set(waiting.pop().all_input_nodes) - found
        found |= new
        waiting += new
    return found


def _shape(node: torch.fx.Node) -> tuple[int, ...]:
    found = node.meta.get("val")
    return tuple(map(int, found.shape)) if isinstance(found, torch.Tensor) else ()
