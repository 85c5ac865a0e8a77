"""Tensor memory: its exact peak during a call, an optimizer's state, a model's parameters."""

from __future__ import annotations

import gc
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.autograd.profiler import record_function

from bench.instruments.events import profiling

OTHER_THREADS = "tensors of other threads are not seen"

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
    """Return the most bytes of CPU tensors alive at once during a call; exact, None where unknown.

    Counted are the storages of `resident` (weights, inputs; tensors and containers of them, held alive
    meanwhile), each once, and all that PyTorch's CPU allocator gives out, from the profiler's memory events.
    `call` runs three times and the second is measured: the profiler does not see the end of memory that was
    there before it began, as the last step's gradients; the third looks whether it works in other threads,
    whose memory is not seen: then the peak is unknown. So what the first call left alive (gradients, an
    optimizer's state) counts, which is how every later call finds it; other memory that is neither in
    `resident` nor made by `call` does not.
    """
    moment = _peak_moment(call, resident)
    return None if moment is None else moment.total


def step_memory(
    step: Callable[[], object],
    model: torch.nn.Module,
    optimizer: Any,
    inputs: Iterable[object] = (),
    kept: Iterable[torch.Tensor] = (),
) -> StepMemory | None:
    """Return what the peak of a training step is made of, see `peak_tensor_bytes`.

    What is `kept` from step to step, as an average of weights is, counts as the optimizer's state. Runs four
    times: the optimizer's state is there after the first. Gradients are told by their addresses: those that
    the second step leaves, those that the third makes, and those of the first that later ones set to zero.
    """
    step()
    first = _addresses(parameter.grad for parameter in model.parameters())
    weights = [*model.parameters(), *model.buffers()]
    state = [*optimizer_tensors(optimizer), *kept]
    left: list[set[int]] = []

    def watched() -> None:
        step()
        left.append(set(_addresses(parameter.grad for parameter in model.parameters())))

    moment = _peak_moment(watched, [*weights, *state, *inputs])
    if moment is None:
        return None
    # By address and by allocation: what was freed may have left its address to a gradient.
    in_gradients = sum(
        block.size
        for address, block in moment.allocated.items()
        if any(
            address in own and alive.get(address) is block
            for own, alive in zip(left[:2], moment.left, strict=True)
        )
    )
    first_ones = sum(first[address] for address in first.keys() & left[1] - moment.made)
    in_weights, in_state = storage_bytes(walk_tensors(weights)), storage_bytes(state)
    rest = moment.total - in_weights - in_state - in_gradients
    return StepMemory(moment.total + first_ones, in_weights, in_gradients + first_ones, in_state, rest)


@dataclass(frozen=True, eq=False)
class _Block:
    """Bytes that the allocator gave out once."""

    size: int


@dataclass(frozen=True)
class _Moment:
    """The peak of the measured call: bytes of tensors, and the blocks among them by address.

    `left` are the blocks alive at the end of the call before it, and at its own end; `made` are the addresses
    of all blocks that both calls were given.
    """

    total: int
    allocated: Mapping[int, _Block]
    left: tuple[Mapping[int, _Block], Mapping[int, _Block]]
    made: frozenset[int]


def _peak_moment(call: Callable[[], object], resident: Iterable[object]) -> _Moment | None:
    held = list(walk_tensors(list(resident)))
    before = storage_bytes(tensor for tensor in held if tensor.device.type == "cpu")
    gc.collect()
    with profiling(memory=True) as roots:
        call()
        with record_function(_MARK):
            call()
    if not roots or _runs_in_other_threads(call):
        return None
    events = sorted(_walk_events(roots), key=lambda event: event.start_time_ns)
    return _peak_of(events, before)


def _runs_in_other_threads(call: Callable[[], object]) -> bool:
    """Say whether a call runs operators in threads whose memory events the profiler does not get.

    It gets those of its own thread and of TorchScript's forks; with all threads it gets operators only.
    """
    with profiling(all_threads=True) as roots, record_function(_MARK):
        call()
    own = {root.start_tid for root in roots if root.name == _MARK}
    return any(root.start_tid not in own and root.name != "<forked function>" for root in roots)


def optimizer_tensors(optimizer: Any) -> list[torch.Tensor]:
    """Return every tensor an optimizer keeps, scalars too, in plain tensors and each storage once."""
    return list(_state_tensors(optimizer, counters=True))


def optimizer_state_bytes(optimizer: Any) -> int:
    """Return the bytes of the tensors an optimizer keeps beside parameters and gradients.

    Tensors in its state, its groups and its attributes count, in nested lists, dicts and objects, the inner
    ones of subclasses (8-bit states), and those of optimizers that it holds. A model that it holds does not.
    Counters do not: `step`, and all without dimensions that belong to a parameter with some; so Adam is 8
    bytes for each fp32 parameter exactly, as in theory.
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
    if tensor.is_mkldnn:
        tensor = tensor.to_dense()
    elif tensor.layout != torch.strided:
        tensor = _stored(tensor)
    if tensor.is_quantized or type(tensor) is not torch.Tensor:
        tensor = tensor.dequantize()
    return int(torch.count_nonzero(tensor))


def stored_elements(tensor: torch.Tensor) -> int:
    """Return how many elements a tensor stores: all of a dense one."""
    dense = tensor.layout == torch.strided or tensor.is_mkldnn
    return tensor.numel() if dense else _stored(tensor).numel()


def storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Return the bytes of the tensors' storages, each once however many tensors share it."""
    sizes = {_identity(tensor): _bytes(tensor) for tensor in tensors}
    return sum(sizes.values())


def identities(tensor: torch.Tensor) -> set[int]:
    """Return what tells the storages of a tensor from others; views have those of what they view."""
    return {_identity(inner) for inner in _plain(tensor)}


def walk_tensors(content: object, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """Yield the plain tensors in nested containers, objects, modules and tensor subclasses.

    Optimizers are passed over. Tensors of oneDNN's layout are plain; of sparse ones their parts are.
    """
    seen = set() if seen is None else seen
    for leaf in _leaves(content, seen):
        if isinstance(leaf, torch.Tensor):
            yield from _plain(leaf)
        elif isinstance(leaf, torch.nn.Module):
            yield from walk_tensors(vars(leaf), seen)


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Yield the tensors among values, those in lists, tuples and mappings too, however deep."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)
        elif isinstance(value, Mapping):
            yield from tensors_in(value.values())


def _leaves(content: object, seen: set[int]) -> Iterator[object]:
    """Yield the tensors, modules and optimizers in nested containers and objects, nothing inside of them."""
    if id(content) in seen:
        return
    seen.add(id(content))
    if isinstance(content, torch.Tensor | torch.nn.Module | torch.optim.Optimizer):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _leaves(value, seen)
    elif isinstance(content, list | tuple | set | frozenset | deque):
        for value in content:
            yield from _leaves(value, seen)
    elif hasattr(content, "__dict__") and not isinstance(content, type):
        yield from _leaves(vars(content), seen)


def _plain(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        inner = (getattr(tensor, name) for name in names)
        # A part of a tensor that several devices have names their mesh, too.
        yield from itertools.chain(*(_plain(each) for each in inner if isinstance(each, torch.Tensor)))
    elif tensor.layout == torch.strided or tensor.is_mkldnn:
        yield tensor
    elif tensor.layout == torch.sparse_coo:
        yield from (tensor._indices(), tensor._values())
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        yield from (tensor.crow_indices(), tensor.col_indices(), tensor.values())
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        yield from (tensor.ccol_indices(), tensor.row_indices(), tensor.values())


def _state_tensors(optimizer: Any, counters: bool) -> Iterator[torch.Tensor]:
    held = list(_optimizers(optimizer, set()))
    groups = [{**group} for each in held for group in getattr(each, "param_groups", ())]
    parameters = [parameter for group in groups for parameter in group.pop("params")]
    seen = set().union(
        *(
            identities(each)
            for parameter in parameters
            for each in (parameter, parameter.grad)
            if each is not None
        )
    )
    entries: list[tuple[Any, object]] = [
        entry for each in held for entry in getattr(each, "state", {}).items()
    ]
    walked = {id(leaf) for each in held for leaf in _modules(each, parameters)}
    attributes = [_attributes(each) for each in held]
    for owner, state in [*entries, (None, groups), (None, attributes)]:
        scalar_owner = isinstance(owner, torch.Tensor) and owner.dim() == 0
        if isinstance(state, Mapping) and not counters:
            state = {key: value for key, value in state.items() if key != "step"}
        for tensor in walk_tensors(state, walked if state is attributes else None):
            if _identity(tensor) not in seen and (counters or scalar_owner or tensor.dim() > 0):
                seen.add(_identity(tensor))
                yield tensor


def _attributes(optimizer: Any) -> dict[str, Any]:
    listed = ("state", "param_groups", "defaults")
    return {name: value for name, value in vars(optimizer).items() if name not in listed}


def _optimizers(optimizer: Any, seen: set[int]) -> Iterator[Any]:
    """Yield an optimizer and those that it holds, at any depth."""
    if id(optimizer) in seen:
        return
    seen.add(id(optimizer))
    yield optimizer
    for leaf in _leaves(_attributes(optimizer), set()):
        if isinstance(leaf, torch.optim.Optimizer):
            yield from _optimizers(leaf, seen)


def _modules(optimizer: Any, parameters: Iterable[torch.nn.Parameter]) -> Iterator[torch.nn.Module]:
    """Yield the modules that an optimizer holds which are the model that it trains, not a copy of it."""
    trained = {id(parameter) for parameter in parameters}
    for leaf in _leaves(_attributes(optimizer), set()):
        if isinstance(leaf, torch.nn.Module) and not trained.isdisjoint(map(id, leaf.parameters())):
            yield leaf


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()


def _identity(tensor: torch.Tensor) -> int:
    if tensor.is_mkldnn:
        return int(torch.ops.mkldnn.data_ptr(tensor))
    # Not data_ptr: it is 0 for all tensors without memory, as on the meta device.
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensor: torch.Tensor) -> int:
    if tensor.is_mkldnn:
        return int(torch.ops.mkldnn._nbytes(tensor))
    return tensor.untyped_storage().nbytes()


def _addresses(tensors: Iterable[torch.Tensor | None]) -> dict[int, int]:
    """Return the memory of tensors: bytes by address."""
    plain = [inner for inner in walk_tensors(list(tensors)) if inner.layout == torch.strided]
    return {inner.untyped_storage().data_ptr(): inner.untyped_storage().nbytes() for inner in plain}


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
    made: set[int] = set()
    last = len(events) - 1
    for number, (_, alive, _) in enumerate(_integrate(events)):
        made.update(_given_out(events[number]))
        if number in (mark, position, last):
            kept[number] = dict(alive)
    return _Moment(before + peak, kept[position], (kept[mark], kept[last]), frozenset(made))


def _given_out(event: Any) -> Iterator[int]:
    if event.tag == _EventType.Allocation and event.typed[1].alloc_size > 0:
        yield event.typed[1].ptr


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
