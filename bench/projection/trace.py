"""One run of a model on fake tensors: what it allocates and frees, in order, and its FLOPs.

Storages are followed as PyTorch's own allocator would see them: each is there from the operator that made it
until nothing refers to it. What a kernel allocates inside itself is not seen, but for a CPU's convolutions.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.collector import collector
from bench.instruments.flops import FlopCount, counting
from bench.instruments.tensors import tensors_in

NONE = FlopCount(0, {}, ())

_CONVOLUTION = torch.ops.aten.convolution.default
_CONVOLUTION_BACKWARD = torch.ops.aten.convolution_backward.default


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
    """Notes each storage when an operator makes it and when it is freed, of real tensors as of fake ones.

    With `reorders`, a convolution also holds its images and weights in an order of its own while it works.
    """

    supports_higher_order_operators = True

    def __init__(self, *, reorders: bool = False) -> None:
        super().__init__()
        self._reorders = reorders
        self.sizes: list[int] = []
        self.events: list[int] = []
        self._known: dict[int, tuple[int, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.numbers([result])
        if self._reorders and func in (_CONVOLUTION, _CONVOLUTION_BACKWARD):
            self._hold_meanwhile(reordered_bytes(func, args, result))
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

    def _hold_meanwhile(self, size: int) -> None:
        number = len(self.sizes)
        self.sizes.append(size)
        self.events += [number + 1, -number - 1]


def reordered_bytes(func: Any, args: Sequence[Any], result: Any) -> int:
    """Return the bytes of the copies that oneDNN makes for a convolution, or for its backward pass.

    Its kernels read and write images and weights in blocks of channels, or with channels last. Forward, the
    result is put in PyTorch's order when the copy of the images is gone: with the weights' copy there is one
    of both at a time. Backward, there are those of the result's gradient, the images, or their gradient, and
    the weights. Images with their channels last are taken as they lie.
    """
    images, weights = args[:2] if func is _CONVOLUTION else args[1:3]
    is_last = images.dim() == 4 and images.is_contiguous(memory_format=torch.channels_last)
    if is_last and not images.is_contiguous():
        return 0
    own, of_weights = _bytes(images), _bytes(weights)
    if func is _CONVOLUTION:
        return max(own, _bytes(result)) + of_weights
    return _bytes(args[0]) + own + of_weights


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def trace_step(
    model: torch.nn.Module, inputs: Iterable[Any], loss: Callable[[], torch.Tensor], *, reorders: bool = False
) -> Trace:
    """Trace a forward and a backward pass in training mode; gradients are cleared before, as usual.

    `reorders` as for `Alive`. Raises whatever the model raises; operators whose result depends on values
    raise on fake tensors.
    """
    model.train()
    model.zero_grad(set_to_none=True)
    # A graph that was kept would hold the storages of the last step. What the search for garbage frees, and
    # when, is no part of a step.
    with collector(on=False), counting() as counter, Alive(reorders=reorders) as alive:
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
    model: torch.nn.Module, inputs: Iterable[Any], call: Callable[[], Any], *, reorders: bool = False
) -> tuple[Trace, Any]:
    """Trace a call in evaluation mode without gradients; return what it returned too. Raises as a step."""
    model.eval()
    with collector(on=False), counting() as counter, Alive(reorders=reorders) as alive, torch.no_grad():
        weights = alive.numbers([*model.parameters(), *model.buffers()])
        given = alive.numbers(inputs)
        returned = call()
        kept = alive.alive()
    sizes, events, forward = tuple(alive.sizes), tuple(alive.events), counter.take()
    return Trace(sizes, events, weights, given, frozenset(), kept, forward, NONE, NONE), returned
