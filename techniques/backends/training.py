"""A training step in PyTorch: forward, backward, optimizer; and its options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch.utils.checkpoint import checkpoint

from techniques.backends.accumulation import Accumulation
from techniques.numbers import weight_types
from techniques.optimizers import OptimizerRow
from techniques.optimizers.second_order import backward, differentiates_twice, twice_differentiable
from techniques.optimizers.torch_optim import (
    build,
    evaluates_by_closure,
    step,
    swaps_weights,
    warm_up_update,
)
from techniques.precisions import PRECISIONS
from techniques.regime import PLAIN, Regime
from techniques.regime.applied import AppliedRegime
from techniques.regime.clipping import ClippingRecord
from techniques.registry import CannotApply, Technique

_CPU = torch.device("cpu")

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

Part = Literal["data", "forward", "backward", "optimizer"]
"""Of a step: the batch, the loss of its outputs, the gradients, and the update with clearing gradients."""


class TrainingStep(Protocol):
    """A model with its loss and optimizer, ready to learn from batches of one shape.

    `model` is what evaluation calls: its weights are the trained ones after `write_back`. `optimizer` is
    None where it is not one of PyTorch's.
    """

    @property
    def model(self) -> torch.nn.Module:
        """Return what evaluation calls."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """Return PyTorch's optimizer, or None where the runtime has its own."""
        ...

    @property
    def passes(self) -> int:
        """Return how often a batch went forward and backward so far, once a step or more often (L-BFGS)."""
        ...

    @property
    def method(self) -> str:
        """Say how a step is taken; empty where it takes the whole batch at once."""
        ...

    @property
    def averaged(self) -> Sequence[torch.Tensor]:
        """Return the tensors of the average of weights that is kept so far, on the CPU or the device."""
        ...

    def clipping(self) -> ClippingRecord | None:
        """Return how often gradients were clipped so far; None where they are not."""
        ...

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Take one optimizer step; return the loss, without waiting for the device."""
        ...

    def warm_up(self, batch: torch.Tensor, targets: torch.Tensor, epoch: Iterable[torch.Tensor] = ()) -> None:
        """Do what only the first step does, such as compilation; weights and random numbers stay.

        `epoch` gives the targets of each batch of an epoch, for what can be found out beforehand.
        """
        ...

    def write_back(self) -> None:
        """Copy the weights that are evaluated into `model`, where they are kept elsewhere.

        Those are the trained ones, or an average of them.
        """
        ...


@runtime_checkable
class KeepsState(Protocol):
    """A training step with an optimizer of the runtime's own, which says how much it keeps."""

    def state_bytes(self) -> int:
        """Return the bytes that the optimizer keeps from step to step, its counters of steps among them."""
        ...


@runtime_checkable
class StepInParts(Protocol):
    """A training step that says which of its parts begins.

    `on_part` is called at each border with the part behind it, `optimizer` first; None asks for no calls.
    """

    on_part: Callable[[Part], None] | None


@dataclass(frozen=True)
class TrainingOptions:
    """How a step is taken. `accumulate`: backward passes before a step, each on that part of the batch, their
    gradients added up to the batch's own.

    `checkpoint` keeps only the inputs of the model's blocks for the backward pass and computes the rest again
    (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). `channels_last` lays images out with
    their channels innermost.
    """

    channels_last: bool = False
    accumulate: int = 1
    checkpoint: bool = False


AS_IT_COMES = TrainingOptions()


@dataclass
class TorchTrainingStep:
    """Steps in PyTorch; other precisions than fp32 by autocast, with scaled gradients for fp16.

    An optimizer that evaluates the loss itself (L-BFGS) is handed a closure. Gradients are clipped once they
    are those of the whole batch, without fp16's scale.

    Sources: Micikevicius et al. 2018, "Mixed Precision Training"; `torch.amp`.
    """

    model: torch.nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    device: torch.device = _CPU
    precision: str = "fp32"
    options: TrainingOptions = AS_IT_COMES
    scaler: torch.amp.GradScaler | None = None
    regime: Regime = PLAIN
    passes: int = field(default=0, init=False)
    on_part: Callable[[Part], None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._accumulation = Accumulation(self.loss, self.options.accumulate)
        self._writes_input = False
        self._by_closure = evaluates_by_closure(self.optimizer)
        self._regime = AppliedRegime(self.regime, self.optimizer, self.model)
        self._swapping: list[Any] = [self.optimizer] if swaps_weights(self.optimizer) else []
        self._swapping.append(self._regime.average)
        self._swapped = False
        why = "evaluates the loss itself" if self._by_closure else ""
        why = "takes gradients of gradients" if differentiates_twice(self.optimizer) else why
        if self.scaler is not None and why:
            kind = type(self.optimizer).__name__
            raise CannotApply(f"{kind} {why}: it cannot use fp16's scaled gradients")

    @property
    def method(self) -> str:
        """Say how gradients of parts of a batch are added up; empty where it is taken at once."""
        return self._accumulation.method if self.options.accumulate > 1 else ""

    @property
    def averaged(self) -> Sequence[torch.Tensor]:
        """Return the tensors of the average of weights that is kept so far."""
        return self._regime.average.tensors

    def clipping(self) -> ClippingRecord | None:
        """Return how often gradients were clipped so far; None where they are not."""
        return self._regime.clipping()

    @classmethod
    def prepare(
        cls,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        device: torch.device,
        precision: str,
        options: TrainingOptions,
        regime: Regime = PLAIN,
        compiled: Callable[[torch.nn.Module], torch.nn.Module] = lambda model: model,
    ) -> TorchTrainingStep:
        """Move `model` to the device and build its optimizer; `compiled` makes of it what is called.

        Raises CannotApply where the weights have other numbers than the precision, where the optimizer does
        not take the model or the regime, and where the model has no blocks to checkpoint.
        """
        refuse_other_numbers(model, precision)
        model = with_layout(model.to(device), options)
        if options.checkpoint:
            checkpoint_blocks(model)
        scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None
        built = build(optimizer, model)
        return cls(compiled(model), loss, built, device, precision, options, scaler, regime)

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        losses: list[torch.Tensor] = []
        self._begin("optimizer")
        self._swap(to_train=True)
        self._regime.begin_step()

        def evaluate() -> torch.Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            self._begin("forward")
            given = batch.clone() if self._writes_input else batch
            with torch.enable_grad():
                losses.append(self._backward(given, targets))
            self._begin("optimizer")
            self._regime.clip(self.scaler)
            self.passes += 1
            return losses[-1]

        if self.scaler is None:
            step(self.optimizer, evaluate, by_closure=self._by_closure)
        else:
            evaluate()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self._regime.end_step()
        return losses[0]

    def warm_up(self, batch: torch.Tensor, targets: torch.Tensor, epoch: Iterable[torch.Tensor] = ()) -> None:
        """Go forward and backward once; weights, buffers and random numbers are afterwards as they were.

        Raises CannotApply where the batch has no equal parts to accumulate, or the loss is no sum over them.
        """
        kept = {name: tensor.detach().clone() for name, tensor in self._tensors()}
        self.model.train()
        on_cpu = self.device.type == "cpu"
        devices = [] if on_cpu else [torch.accelerator.current_device_index()]
        with torch.random.fork_rng(devices, device_type="cuda" if on_cpu else self.device.type):
            given = batch.clone()
            self._backward(given, targets)
            warm_up_update(self.optimizer)
            # Of a pass over the batch again, as L-BFGS takes many, that would be another batch.
            self._writes_input = not same_numbers(given, batch)
            if self.options.accumulate > 1:
                with torch.no_grad():
                    outputs = self._forward(batch[: len(batch) // self.options.accumulate])
                self._accumulation.study(outputs, (each.to(self.device) for each in epoch))
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, tensor in self._tensors():
                if name in kept:
                    tensor.copy_(kept[name])

    def write_back(self) -> None:
        """Put the weights that are evaluated in the place of those that are trained, where they differ."""
        self._swap(to_train=False)

    def _swap(self, *, to_train: bool) -> None:
        if self._swapped != to_train:
            for each in self._swapping:
                (each.train if to_train else each.eval)()
            self._swapped = to_train

    def _begin(self, part: Part) -> None:
        if self.on_part is not None:
            self.on_part(part)

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        # Not the state_dict, which may hold what is no tensor (`get_extra_state`) and lack buffers.
        yield from self.model.named_parameters()
        yield from self.model.named_buffers()

    def _backward(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        parts = self.options.accumulate
        if parts == 1:
            return self._backward_of(self._forward(batch), targets, 1.0)
        if len(batch) % parts:
            raise CannotApply(
                f"accumulate={parts}: a batch of {len(batch)} cannot be split into {parts} equal parts"
            )
        size = len(batch) // parts
        losses: list[torch.Tensor] = []
        weights: list[float] = []
        for number, (part, own) in enumerate(zip(batch.split(size), targets.split(size), strict=True)):
            outputs = self._forward(part)
            weights = weights or self._accumulation.weights(outputs, targets)
            if weights[number]:  # the mean over a part of padding alone is not a number
                losses.append(self._backward_of(outputs, own, weights[number]))
        return torch.stack(losses).sum()

    def _forward(self, batch: torch.Tensor) -> Any:
        self._begin("forward")
        with self._autocast(), twice_differentiable(differentiates_twice(self.optimizer)):
            return self.model(laid_out(batch, self.options.channels_last))

    def _backward_of(self, outputs: Any, targets: torch.Tensor, weight: float) -> torch.Tensor:
        with self._autocast():
            loss = self.loss(outputs, targets)
        self._begin("backward")
        loss = loss if weight == 1 else loss * weight
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        backward(scaled, create_graph=differentiates_twice(self.optimizer))
        return loss.detach()

    def _autocast(self) -> torch.autocast:
        dtype = getattr(torch, PRECISIONS[self.precision].dtype)
        return torch.autocast(self.device.type, dtype, enabled=dtype in (torch.bfloat16, torch.float16))


def refuse_other_numbers(model: torch.nn.Module, precision: str) -> None:
    """Raise CannotApply where training computes in other numbers than the precision that it is listed under.

    Weights are fp32 (under autocast too) or complex64, and of twice the bits in fp64.
    """
    types = weight_types(model)
    fitting = {"fp64", "complex128"} if precision == "fp64" else {"fp32", "complex64"}
    if types and not fitting.issuperset(types):
        own = "fp64" if set(types) <= {"fp64", "complex128"} else ""
        how = f'; train it with precision = "{own}"' if own and precision != own else ""
        raise CannotApply(
            f"the model's weights are {', '.join(types)}, which training in {precision} does not use{how}"
        )


def same_numbers(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Say whether two tensors hold the same numbers, those that are not numbers at the same places."""
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.equal(one.nan_to_num(), other.nan_to_num())


def with_layout(model: torch.nn.Module, options: TrainingOptions) -> torch.nn.Module:
    """Return a model with its weights laid out as the options say."""
    if not options.channels_last:
        return model
    laid_out: torch.nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out


def laid_out(batch: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """Return a batch in one piece of memory; that of images (count, channels, height, width) as asked for."""
    layout = torch.channels_last if channels_last and batch.dim() == 4 else torch.contiguous_format
    return batch.contiguous(memory_format=layout)


def checkpoint_blocks(model: torch.nn.Module) -> None:
    """Make each block of a model compute its inner activations again in the backward pass.

    Blocks are the entries of its lists and chains of modules that have parts of their own (the layers of a
    transformer, of a residual net); where it has none, its chains. Raises CannotApply where it has neither.
    """
    blocks = blocks_of(model)
    if not blocks:
        raise CannotApply("checkpoint=true requires a model with blocks: a ModuleList or a Sequential")
    for block in blocks:
        forward: Any = partial(checkpoint, block.forward, use_reentrant=False)
        block.forward = forward


def blocks_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the blocks of a model: entries of its lists and chains that have parts, else its chains."""
    return list(_blocks(model)) or [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Sequential) and module is not model
    ]


def _blocks(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yield the outermost blocks."""
    for child in module.children():
        repeated = isinstance(module, torch.nn.ModuleList | torch.nn.Sequential)
        if repeated and list(child.children()) and any(True for _ in child.parameters()):
            yield child
        else:
            yield from _blocks(child)
