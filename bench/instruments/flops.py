"""FLOPs of a call, exactly: the operators it runs, by formula; 2 for each multiply-add."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.instruments.flop_formulas import Formula, formulas, looks_like_compute
from bench.instruments.tensors import nonzero

Loss = Callable[[Any, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class FlopCount:
    """FLOPs in all and by operator. `unknown` names operators that did more and have no formula."""

    total: int
    by_operator: Mapping[str, int]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of one step of training. The loss is part of the forward pass."""

    forward: FlopCount
    backward: FlopCount
    optimizer: FlopCount


class OperatorCounter(TorchDispatchMode):
    """Counts operators as they run, until asked, then starts again from 0.

    Not FlopCounterMode, though with its formulas where we have none: it tracks modules by hooks on their
    inputs, which raise where gradients are off and an input wants one, and it passes over unknown operators.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._known = {**flop_registry, **{op: _on_tensors(formula) for op, formula in formulas().items()}}
        self._by_operator: Counter[str] = Counter()
        self._unknown: set[str] = set()

    def take(self) -> FlopCount:
        """Return what was counted since the last time."""
        by_operator = dict(self._by_operator)
        taken = FlopCount(sum(by_operator.values()), by_operator, tuple(sorted(self._unknown)))
        self._by_operator.clear()
        self._unknown.clear()
        return taken

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operator = getattr(func, "_overloadpacket", func)
        if operator not in self._known and isinstance(func, torch._ops.OpOverload):
            # In inference mode `linear`, `einsum`, `lstm` and such arrive whole; their parts are known.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self._enter(operator, func, result, args, kwargs)
        return result

    def _enter(self, operator: Any, func: Any, result: Any, args: Any, kwargs: Any) -> None:
        if operator in self._known:
            try:
                self._by_operator[str(operator)] += self._known[operator](*args, **kwargs, out_val=result)
            except Exception:  # a layout that the formula was not written for, as nested tensors
                self._unknown.add(str(operator))
            return
        namespace, _, name = func.name().rpartition("::")
        if looks_like_compute(namespace or "higher_order", name.partition(".")[0]):
            self._unknown.add(str(operator))


def count(call: Callable[[], object]) -> FlopCount:
    """Count the FLOPs of a call, which runs once; compiled modules by their graph's logical operations."""
    counter = OperatorCounter()
    with as_eager(), counter:
        call()
    return counter.take()


def count_step(
    model: torch.nn.Module, loss: Loss, inputs: Any, targets: torch.Tensor, optimizer: torch.optim.Optimizer
) -> StepFlops:
    """Count forward (with the loss), backward and optimizer of one training step apart.

    Runs on copies: model, optimizer and random numbers stay as they are. Fused attention's backward counts
    the scores that it computes again (5 products to the forward's 2). The closure of an optimizer that
    requires one (L-BFGS) counts as the optimizer's.
    """
    model, optimizer = _copies(model, optimizer)
    counter = OperatorCounter()

    def forward() -> torch.Tensor:
        return loss(model(inputs), targets)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = forward()
        value.backward()
        return value

    devices = [inputs.device] if isinstance(inputs, torch.Tensor) and inputs.is_cuda else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad(), as_eager(), counter:
        optimizer.zero_grad()
        value = forward()
        in_forward = counter.take()
        value.backward()
        in_backward = counter.take()
        parameter = inspect.signature(optimizer.step).parameters.get("closure")
        if parameter is not None and parameter.default is inspect.Parameter.empty:
            optimizer.step(cast(Any, closure))
        else:
            optimizer.step()
        return StepFlops(in_forward, in_backward, counter.take())


def effective(model: torch.nn.Module, example: torch.Tensor) -> int:
    """Return the forward FLOPs less those of zero weights in linear, conv, attention and recurrent layers.

    A weight takes part at every position of its layer, so a zero saves 2 FLOPs each; all else counts dense.
    """
    saved: list[int] = []

    def hook(module: torch.nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        saved.extend(2 * zeros * positions for zeros, positions in _zeros(module, inputs, kwargs, output))

    handles = [module.register_forward_hook(hook, with_kwargs=True) for module in model.modules()]
    try:
        with evaluating(model):
            return count(lambda: model(example)).total - sum(saved)
    finally:
        for handle in handles:
            handle.remove()


def _zeros(
    module: torch.nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Iterator[tuple[int, int]]:
    """Yield zero weights of a layer's own, and how many positions of this call each took part at."""
    nn = torch.nn
    if isinstance(module, nn.MultiheadAttention):
        query, key = (inputs[i] if len(inputs) > i else kwargs[("query", "key")[i]] for i in (0, 1))
        tokens, others = query.numel() // query.shape[-1], key.numel() // key.shape[-1]
        projections = module.in_proj_weight
        parts = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        weights = parts if projections is None else projections.chunk(3)
        positions = (tokens, others, others, tokens)
        for weight, places in zip((*weights, module.out_proj.weight), positions, strict=True):
            yield weight.numel() - nonzero(weight), places
    elif isinstance(module, nn.RNNBase):
        batch = inputs[0].data
        for name, weight in module.named_parameters():
            if name.startswith("weight"):
                yield weight.numel() - nonzero(weight), batch.numel() // batch.shape[-1]
    elif isinstance(module, nn.Linear):
        yield module.weight.numel() - nonzero(module.weight), output.numel() // module.out_features
    elif isinstance(module, nn.modules.conv._ConvTransposeNd):
        yield module.weight.numel() - nonzero(module.weight), inputs[0].numel() // module.in_channels
    elif isinstance(module, nn.modules.conv._ConvNd):
        yield module.weight.numel() - nonzero(module.weight), output.numel() // module.out_channels


def _copies(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    memo: dict[int, Any] = {}
    return deepcopy(model, memo), _copy_optimizer(optimizer, memo)


def _copy_optimizer(optimizer: torch.optim.Optimizer, memo: dict[int, Any]) -> torch.optim.Optimizer:
    # deepcopy alone keeps only defaults, state and groups (Optimizer.__getstate__): L-BFGS and many others
    # have more, and may hold other optimizers.
    duplicate = memo[id(optimizer)] = object.__new__(type(optimizer))
    for value in vars(optimizer).values():
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, torch.optim.Optimizer) and id(inner) not in memo:
                _copy_optimizer(inner, memo)
    vars(duplicate).update(deepcopy(vars(optimizer), memo))
    return duplicate


def _on_tensors(formula: Formula) -> Formula:
    def with_output(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        return formula(out_val, *args, **kwargs)

    return with_output


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
