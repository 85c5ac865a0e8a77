"""One run of a model on fake tensors: what it allocates and frees, in order, and its FLOPs.

Storages are followed as PyTorch's own allocator would see them: each is there from the operator that made it
until nothing refers to it. What a kernel allocates inside itself is not seen.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.instruments.flops import FlopCount, counting
from bench.instruments.tensors import tensors_in

NONE = FlopCount(0, {}, ())


@dataclass(frozen=True)
class Trace:
    """Storages by number, in the order they were made: `sizes` in bytes.

    `events` has number + 1 where one is made, and its negative where it is freed. `weights` (buffers too),
    `inputs` and `gradients` are numbers; `kept` are those alive at the end of the forward pass, which are
    what it keeps for the backward pass, beside weights and inputs.
    """

    sizes: tuple[int, ...]
    events: tuple[int, ...]
    weights: frozenset[int]
    inputs: frozenset[int]
    gradients: frozenset[int]
    kept: frozenset[int]
    forward: FlopCount
    backward: FlopCount
    recomputed: FlopCount


class Alive(TorchDispatchMode):
    """Notes each storage when an operator makes it and when it is freed, of real tensors as of fake ones."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.events: list[int] = []
        self._known: dict[int, tuple[int, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.numbers([result])
        return result

    def numbers(self, values: Iterable[Any]) -> frozenset[int]:
        """Return the numbers of the storages of tensors, also in lists and mappings; new ones get one."""
        return frozenset(self._number(tensor.untyped_storage()) for tensor in tensors_in(values))

    def alive(self) -> frozenset[int]:
        """Return the numbers of the storages that are there now."""
        return frozenset(number for number, _ in self._known.values())

    def _number(self, storage: Any) -> int:
        key = storage._cdata
        if key not in self._known:
            number = len(self.sizes)
            self.sizes.append(storage.nbytes())
            self.events.append(number + 1)
            self._known[key] = number, weakref.ref(storage, partial(self._free, key))
        return self._known[key][0]

    def _free(self, key: int, _: object) -> None:
        number, _ = self._known.pop(key)
        self.events.append(-number - 1)


def trace_step(model: torch.nn.Module, inputs: Iterable[Any], loss: Callable[[], torch.Tensor]) -> Trace:
    """Trace a forward and a backward pass in training mode; gradients are cleared before, as usual.

    Raises whatever the model raises; operators whose result depends on values raise on fake tensors.
    """
    model.train()
    model.zero_grad(set_to_none=True)
    # A graph that was kept would hold the storages of the last step.
    with _uncollected(), counting() as counter, Alive() as alive:
        weights = alive.numbers([*model.parameters(), *model.buffers()])
        given = alive.numbers(inputs)
        with torch.enable_grad():
            value = loss()
            forward = counter.take()
            kept = alive.alive()
            value.backward()
        backward, recomputed = counter.take_apart()
        del value
        gradients = alive.numbers(entry.grad for entry in model.parameters() if entry.grad is not None)
    sizes, events = tuple(alive.sizes), tuple(alive.events)
    model.zero_grad(set_to_none=True)
    return Trace(sizes, events, weights, given, gradients, kept, forward, backward, recomputed)


def trace_inference(
    model: torch.nn.Module, inputs: Iterable[Any], call: Callable[[], Any]
) -> tuple[Trace, Any]:
    """Trace a call in evaluation mode without gradients; return what it returned too. Raises as a step."""
    model.eval()
    with _uncollected(), counting() as counter, Alive() as alive, torch.no_grad():
        weights = alive.numbers([*model.parameters(), *model.buffers()])
        given = alive.numbers(inputs)
        returned = call()
        kept = alive.alive()
    sizes, events, forward = tuple(alive.sizes), tuple(alive.events), counter.take()
    return Trace(sizes, events, weights, given, frozenset(), kept, forward, NONE, NONE), returned


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector out of the block: what it frees, and when, is no part of a step."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
