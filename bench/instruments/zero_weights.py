"""The operations of a forward pass that a zero weight saves, from the operators that take the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils import parametrize

from bench.instruments.flop_formulas import tokens
from bench.instruments.flop_table import is_whole_layer
from bench.instruments.tensors import identities, nonzero, stored_elements, tensors_in


class ZeroWeights:
    """The weights of a model by their memory, and the FLOPs that their zeros saved so far.

    A weight is a parameter, in whatever module and however it is called, or what a parametrization or a
    pruning mask makes of one. A zero saves the operations that it takes part in; zeros of activations do not.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.saved = 0
        self._model = model
        self._weights: dict[int, torch.Tensor] = {}
        self._zeros: dict[int, tuple[int, int]] = {}

    @contextmanager
    def known(self) -> Iterator[None]:
        """Run the block with every weight known, including those that are made in each call."""
        for parameter in self._model.parameters():
            self._note(parameter)
        handles = [
            module.register_forward_pre_hook(self._note_made)
            for module in self._model.modules()
            if module._forward_pre_hooks  # as of masks and weight norm: they set the attribute
        ]
        try:
            with parametrize.cached():
                for module in self._model.modules():
                    for name in getattr(module, "parametrizations", ()):
                        self._note(getattr(module, name))
                yield
        finally:
            for handle in handles:
                handle.remove()

    def saw(self, packet: Any, flops: int, args: Iterable[Any]) -> None:
        """Add what an operator saved that took a weight."""
        operands = [
            tensor for tensor in tensors_in(args) if tensor.dim() > 1 and self._owner(tensor) is not None
        ]
        if not operands:
            return
        if is_whole_layer(packet):
            positions = tokens(next(iter(tensors_in(args))))
            self.saved += 2 * positions * sum(self._zeros_of(weight)[0] for weight in operands)
        else:
            zeros, elements = max(map(self._zeros_of, operands), key=lambda entry: entry[1])
            self.saved += flops * zeros // max(1, elements)

    def _note(self, weight: torch.Tensor) -> None:
        for identity in identities(weight):
            self._weights[identity] = weight

    def _note_made(self, module: torch.nn.Module, *_: object) -> None:
        for value in vars(module).values():
            if isinstance(value, torch.Tensor):
                self._note(value)

    def _owner(self, operand: torch.Tensor) -> torch.Tensor | None:
        return next((self._weights[key] for key in identities(operand) if key in self._weights), None)

    def _zeros_of(self, operand: torch.Tensor) -> tuple[int, int]:
        """Return how many of an operand's stored elements are zero, and how many there are."""
        weight = self._owner(operand)
        assert weight is not None
        if operand.numel() != weight.numel() and type(weight) in (torch.Tensor, torch.nn.Parameter):
            return _zeros(operand)  # a part of the weight, as of projections that are kept in one
        if id(weight) not in self._zeros:
            self._zeros[id(weight)] = _zeros(weight)
        return self._zeros[id(weight)]


def _zeros(weight: torch.Tensor) -> tuple[int, int]:
    elements = stored_elements(weight)
    return elements - nonzero(weight), elements
