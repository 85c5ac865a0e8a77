"""FLOPs of a call, exactly: the operators it runs, by formula; 2 for each multiply-add."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch._C._profiler import _RecordFunctionFast
from torch._subclasses.fake_tensor import FakeTensor
from torch.nested._internal.nested_tensor import NestedTensor
from torch.sparse import SparseSemiStructuredTensor
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _pop_mode,
    _push_mode,
    is_traceable_wrapper_subclass,
    transform_subclass,
)
from torch.utils.flop_counter import flop_registry

from bench.instruments.compiled_script import counting_compiled_script
from bench.instruments.composites import by_parts, counted_whole, is_convolution
from bench.instruments.copies import copy_of
from bench.instruments.flop_table import formulas
from bench.instruments.operators import kind_of
from bench.instruments.tally import FlopCount, Saw, Tally, sum_of
from bench.instruments.tensors import tensors_in
from bench.instruments.unseen import (
    SEEN,
    counting_threads,
    naming_other_libraries,
    naming_unseen,
)
from bench.instruments.zero_weights import ZeroWeights
from techniques.optimizers.second_order import backward as backward_of
from techniques.optimizers.second_order import differentiates_twice, twice_differentiable
from techniques.optimizers.torch_optim import (
    evaluates_by_closure,
    period_of,
    step,
    swaps_weights,
)

__all__ = ["FlopCount", "OperatorCounter", "StepFlops", "count", "count_step", "counting", "effective"]

# Types of tensors whose shapes do not tell what an operator does.
_INSIDES = (NestedTensor, SparseSemiStructuredTensor)

Loss = Callable[[Any, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of one step of training. The loss is part of the forward pass.

    The first three are the model's own. `recomputed` is what the backward pass does a second time, to save
    memory: the hardware does it too, and the model does not need it.
    """

    forward: FlopCount
    backward: FlopCount
    optimizer: FlopCount
    recomputed: FlopCount


class OperatorCounter(TorchDispatchMode):
    """Counts operators of its thread as they run, until asked, then starts again from 0.

    Not FlopCounterMode, though with its formulas where we have none: it tracks modules by hooks on their
    inputs, which raise where gradients are off and an input wants one, and it passes over unknown operators.
    """

    supports_higher_order_operators = True

    def __init__(self, tally: Tally | None = None) -> None:
        super().__init__()
        self._tally = tally or Tally()
        self._known = {*flop_registry, *formulas()}

    def take(self) -> FlopCount:
        """Return what was counted since the last time, in all threads that share the tally."""
        return self._tally.take()

    def take_apart(self) -> tuple[FlopCount, FlopCount]:
        """Return what was done for the first time, and what was done again to save memory."""
        return self._tally.take_apart()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operator = getattr(func, "_overloadpacket", func)
        namespace, _, name = func.name().rpartition("::")
        known = operator in self._known
        kind = "formula" if known else kind_of(namespace or "higher_order", name.partition(".")[0])
        if any(issubclass(each, _INSIDES) or (not known and _is_wrapper(each)) for each in types):
            return NotImplemented  # its own implementation calls operators on plain tensors, which come here
        if kind == "parts":
            # In inference mode `einsum`, `lstm` and such arrive whole; their parts are known.
            with self:
                return self._parts(func, operator, args, kwargs)
        computes = kind in ("formula", "unknown")
        with _RecordFunctionFast(SEEN) if computes else nullcontext():
            result = func(*args, **kwargs)
        if known:
            self._tally.enter(operator, result, args, kwargs)
        elif computes:
            self._tally.note(str(operator))
        elif operator is torch.ops.aten.mul:
            self._tally.enter_multiplied(result, args)
        return result

    def _parts(self, func: Any, operator: Any, args: Any, kwargs: Any) -> Any:
        if is_convolution(operator):
            return by_parts(func)(*args, **kwargs)
        with self._tally.outer_products() if operator is torch.ops.aten.einsum else nullcontext():
            return func.decompose(*args, **kwargs)


@contextmanager
def counting(saw: Saw | None = None) -> Iterator[OperatorCounter]:
    """Count the operators of the block: those of threads that it starts too, compiled modules as eager.

    What multiplies where the counter cannot see it is named at the block's end, so take the count after it.
    `saw` is told of each operator that was counted: what it is, its FLOPs, its arguments.
    """
    tally = Tally(saw)
    counter = OperatorCounter(tally)

    def enter(overload: Any, result: Any, args: Any, kwargs: Any) -> None:
        tally.enter(overload._overloadpacket, result, args, kwargs)

    with (
        as_eager(),
        naming_unseen(tally.note),
        counting_compiled_script(tally.enter, tally.note),
        naming_other_libraries(tally.note),
        counting_threads(lambda: _in_this_thread(OperatorCounter(tally))),
        counted_whole(enter, tally.outer_products),
        counter,
    ):
        yield counter


def count(call: Callable[[], object]) -> FlopCount:
    """Count the FLOPs of a call, which runs once; compiled modules by their graph's logical operations.

    Raises whatever the call raises.
    """
    with counting() as counter:
        call()
    return counter.take()


def count_step(
    model: torch.nn.Module, loss: Loss, inputs: Any, targets: torch.Tensor, optimizer: torch.optim.Optimizer
) -> StepFlops:
    """Count forward (with the loss), backward and optimizer of one training step apart.

    Runs on copies: model, optimizer and random numbers stay as they are. What the backward pass computes
    again (checkpointed modules, the scores of fused attention) counts apart, as `recomputed`. An optimizer
    that evaluates the loss itself (L-BFGS) may go forward and backward many times; of one that does some of
    its work now and then (SOAP), the mean over as many steps as it takes to do it all.
    """
    model, optimizer = _copies(model, optimizer)
    passes: list[tuple[FlopCount, FlopCount, FlopCount]] = []
    if swaps_weights(optimizer):
        cast(Any, optimizer).train()

    def evaluate() -> torch.Tensor:
        twice = differentiates_twice(optimizer)
        optimizer.zero_grad()
        with torch.enable_grad(), twice_differentiable(twice):
            with counting() as counter:
                value = loss(model(inputs), targets)
            in_forward = counter.take()
            with counting() as counter:
                backward_of(value, create_graph=twice)
        passes.append((in_forward, *counter.take_apart()))
        return value.detach()

    devices = [inputs.device] if isinstance(inputs, torch.Tensor) and inputs.is_cuda else []
    by_closure = evaluates_by_closure(optimizer)
    period = period_of(optimizer)

    def steps() -> None:
        for _ in range(period):
            step(optimizer, evaluate, by_closure=by_closure)

    with torch.random.fork_rng(devices=devices):
        if period > 1 and not optimizer.state:  # the first steps of all are others
            steps()
            passes.clear()
        whole = count(steps)
    forward, backward, recomputed = map(sum_of, zip(*passes, strict=True))
    ours = whole.less(forward, backward, recomputed)
    return StepFlops(*(each.per(period) for each in (forward, backward, ours, recomputed)))


def effective(model: torch.nn.Module, example: torch.Tensor) -> int:
    """Return the forward FLOPs less those that zero weights take part in; all else counts dense.

    The model runs once in evaluation mode; raises whatever it raises.
    """
    weights = ZeroWeights(model)
    with evaluating(model), weights.known(), counting(weights.saw) as counter:
        model(example)
    return counter.take().total - weights.saved


def _copies(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    memo: dict[int, Any] = {}
    return copy_of(model, memo), _copy_optimizer(optimizer, memo)


def _copy_optimizer(optimizer: torch.optim.Optimizer, memo: dict[int, Any]) -> torch.optim.Optimizer:
    # deepcopy alone keeps only defaults, state and groups (Optimizer.__getstate__): L-BFGS and many others
    # have more, and may hold other optimizers.
    duplicate = memo[id(optimizer)] = object.__new__(type(optimizer))
    for value in vars(optimizer).values():
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, torch.optim.Optimizer) and id(inner) not in memo:
                _copy_optimizer(inner, memo)
    kept: Iterable[Any] = tensors_in(optimizer.state.values())
    for tensor in kept:
        if is_traceable_wrapper_subclass(tensor):  # torchao's 8-bit state has no copy of its own
            memo[id(tensor)] = transform_subclass(tensor, lambda _, inner: inner.clone())
    vars(duplicate).update(deepcopy(vars(optimizer), memo))
    return duplicate


@contextmanager
def _in_this_thread(mode: TorchDispatchMode) -> Iterator[None]:
    # Not `with mode`: it sets flags of the whole process, in whatever order threads end.
    _push_mode(mode)
    try:
        yield
    finally:
        _pop_mode()


def _is_wrapper(kind: type[torch.Tensor]) -> bool:
    """Say whether a type of tensors runs operators by its own code. Those of fake ones compute nothing."""
    return kind.__torch_dispatch__ != torch.Tensor.__torch_dispatch__ and not issubclass(kind, FakeTensor)


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Run the block with the model in evaluation mode and without gradients; its modes come back after."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def as_eager() -> AbstractContextManager[Any]:
    """Run compiled modules as the eager ones they came from: their kernels hide the operators."""
    # Whoever compiled has imported Dynamo; who has not need not wait seconds for it.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
