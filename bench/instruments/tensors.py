"""Tensor memory: its exact peak during a call, an optimizer's state, a model's parameters."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile, record_function

_MARK = "bench.instruments.tensors:measured"


@dataclass(frozen=True)
class StepMemory:
    """The bytes of tensors at the peak of a training step, by what they are; they add up to `peak`.

    `activations` are all that is neither weight (buffers too), gradient of a weight nor optimizer state: what
    the forward pass keeps for the backward one, gradients of activations, inputs, temporaries.
    """

    peak: int
    weights: int
    gradients: int
    optimizer_state: int
    activations: int


def peak_tensor_bytes(call: Callable[[], object], resident: Iterable[object] = ()) -> int | None:
    """Return the most bytes of CPU tensors alive at once during a call; exact, None where not to be had.

    Counted are the storages of `resident` (weights, inputs; tensors and containers of them, held alive
    meanwhile), each once, and all that PyTorch's CPU allocator gives out, from the profiler's memory events.
    `call` runs twice and the second is measured: the profiler does not see the end of memory that was there
    before it began, as the last step's gradients. So what the first call left alive (gradients, an
    optimizer's state) counts, which is how every later call finds it; other memory that is neither in
    `resident` nor made by `call` does not.
    """
    moment = _peak_moment(call, resident)
    return None if moment is None else moment.total


def step_memory(
    step: Callable[[], object], model: torch.nn.Module, optimizer: Any, inputs: Iterable[object] = ()
) -> StepMemory | None:
    """Return what the peak of a training step is made of, see `peak_tensor_bytes`.

    Runs three times: the optimizer's state is there after the first. Gradients are told by their addresses,
    those that the second step leaves and those that the third makes.
    """
    step()
    weights = [*model.parameters(), *model.buffers()]
    state = optimizer_tensors(optimizer)
    left: list[set[int]] = []

    def watched() -> None:
        step()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        left.append({inner.untyped_storage().data_ptr() for inner in walk_tensors(gradients)})

    moment = _peak_moment(watched, [*weights, *state, *inputs])
    if moment is None:
        return None
    # By address and by allocation: what was freed may have left its address to a gradient.
    in_gradients = sum(
        block.size
        for address, block in moment.allocated.items()
        if any(
            address in own and alive.get(address) is block
            for own, alive in zip(left, moment.left, strict=True)
        )
    )
    in_weights, in_state = storage_bytes(walk_tensors(weights)), storage_bytes(state)
    rest = moment.total - in_weights - in_state - in_gradients
    return StepMemory(moment.total, in_weights, in_gradients, in_state, rest)


@dataclass(frozen=True, eq=False)
class _Block:
    """Bytes that the allocator gave out once."""

    size: int


@dataclass(frozen=True)
class _Moment:
    """The peak of the measured call: bytes of tensors, and the blocks among them by address.

    `left` are the blocks alive at the end of the call before it, and at its own end.
    """

    total: int
    allocated: Mapping[int, _Block]
    left: tuple[Mapping[int, _Block], Mapping[int, _Block]]


def _peak_moment(call: Callable[[], object], resident: Iterable[object]) -> _Moment | None:
    held = list(walk_tensors(list(resident)))
    before = storage_bytes(tensor for tensor in held if tensor.device.type == "cpu")
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        call()
        with record_function(_MARK):
            call()
    results = profiled.profiler.kineto_results if profiled.profiler is not None else None
    if results is None:
        return None
    events = sorted(_walk_events(results.experimental_event_tree()), key=lambda event: event.start_time_ns)
    return _peak_of(events, before)


def optimizer_tensors(optimizer: Any) -> list[torch.Tensor]:
    """Return every tensor an optimizer keeps, scalars too, in plain tensors and each storage once."""
    return list(_state_tensors(optimizer, counters=True))


def optimizer_state_bytes(optimizer: Any) -> int:
    """Return the bytes of the tensors an optimizer keeps beside parameters and gradients.

    Tensors in nested lists, dicts and objects count, and the inner ones of subclasses (8-bit states).
    Counters do not: `step`, and all without dimensions that belong to a parameter with some; so Adam is
    8 bytes for each fp32 parameter exactly, as in theory.
    """
    return storage_bytes(_state_tensors(optimizer, counters=False))


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """Return how many parameters a model has, and how many of them are not zero. Buffers do not count.

    Quantized subclasses (torchao) count their logical elements, zero where they stand for zero.
    """
    parameters = list(model.parameters())
    return sum(entry.numel() for entry in parameters), sum(map(nonzero, parameters))


@torch.no_grad()
def nonzero(tensor: torch.Tensor) -> int:
    """Return how many elements of a tensor are not zero, of a quantized subclass once dequantized."""
    tensor = tensor.detach()
    if tensor.is_quantized or type(tensor) is not torch.Tensor:
        tensor = tensor.dequantize()
    return int(torch.count_nonzero(tensor))


def storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Return the bytes of the tensors' storages, each once however many tensors share it."""
    sizes = {_identity(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(sizes.values())


def walk_tensors(content: object, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """Yield the plain tensors in nested containers, objects and tensor subclasses."""
    seen = set() if seen is None else seen
    if id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, torch.Tensor):
        yield from _plain(content)
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from walk_tensors(value, seen)
    elif isinstance(content, list | tuple | set | frozenset):
        for value in content:
            yield from walk_tensors(value, seen)
    elif hasattr(content, "__dict__") and not isinstance(content, type | torch.optim.Optimizer):
        yield from walk_tensors(vars(content), seen)


def _plain(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        for name in names:
            yield from _plain(getattr(tensor, name))
    elif tensor.layout == torch.strided:
        yield tensor
    elif tensor.layout == torch.sparse_coo:
        yield from (tensor._indices(), tensor._values())


def _state_tensors(optimizer: Any, counters: bool) -> Iterator[torch.Tensor]:
    groups = [{**group} for group in optimizer.param_groups]
    parameters = [parameter for group in groups for parameter in group.pop("params")]
    seen = {_identity(inner) for parameter in parameters for inner in _plain(parameter)}
    entries: list[tuple[Any, object]] = [(owner, state) for owner, state in optimizer.state.items()]
    for owner, state in [*entries, (None, groups)]:
        scalar_owner = isinstance(owner, torch.Tensor) and owner.dim() == 0
        if isinstance(state, Mapping) and not counters:
            state = {key: value for key, value in state.items() if key != "step"}
        for tensor in walk_tensors(state):
            if _identity(tensor) not in seen and (counters or scalar_owner or tensor.dim() > 0):
                seen.add(_identity(tensor))
                yield tensor


def _identity(tensor: torch.Tensor) -> int:
    # Not data_ptr: it is 0 for all tensors without memory, as on the meta device.
    return int(tensor.untyped_storage()._cdata)


def _walk_events(events: Iterable[Any]) -> Iterator[Any]:
    for event in events:
        yield event
        yield from _walk_events(event.children)


def _peak_of(events: Sequence[Any], before: int) -> _Moment | None:
    """Return the peak after the mark, `before` bytes included; None where there is no mark."""
    peak, position, mark = -1, -1, -1
    for number, (total, _, marked) in enumerate(_integrate(events)):
        if marked and mark < 0:
            mark = number
        if marked and total > peak:
            peak, position = total, number
    if mark < 0:
        return None
    kept: dict[int, dict[int, _Block]] = {}
    last = len(events) - 1
    for number, (_, alive, _) in enumerate(_integrate(events)):
        if number in (mark, position, last):
            kept[number] = dict(alive)
    return _Moment(before + peak, kept[position], (kept[mark], kept[last]))


def _integrate(events: Iterable[Any]) -> Iterator[tuple[int, Mapping[int, _Block], bool]]:
    """Yield after each event the bytes alive, the blocks by address, and whether the mark has been passed."""
    alive: dict[int, _Block] = {}
    total, marked = 0, False
    for event in events:
        if event.tag == _EventType.Allocation:
            change = event.typed[1]
            if change.device.type != "cpu":
                pass
            elif change.alloc_size > 0:
                alive[change.ptr] = _Block(change.alloc_size)
                total += change.alloc_size
            else:
                # Absent: it was there before the profiler began, and known from an earlier one.
                total -= alive.pop(change.ptr, _Block(0)).size
        elif event.name == _MARK:
            marked = True
        yield total, alive, marked
