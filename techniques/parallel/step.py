"""A training step that several ranks take together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from techniques.backends.accumulation import Accumulation
from techniques.backends.training import AS_IT_COMES, Loss, TorchTrainingStep, TrainingOptions
from techniques.optimizers import OptimizerRow
from techniques.optimizers.second_order import differentiates_twice
from techniques.optimizers.torch_optim import evaluates_by_closure, swaps_weights
from techniques.outputs import compared
from techniques.parallel import ParallelRow, TensorPlan
from techniques.parallel.ranks import Ranks
from techniques.parallel.spreading import whole
from techniques.regime import PLAIN, Regime
from techniques.regime.clipping import ClippingRecord
from techniques.registry import CannotApply, Technique

_TOLERANCE = 1e-3
"""How far outputs of split layers may differ from those of whole ones, as a share of the largest."""

FURTHER_SEEDS = 1_000_003
"""Between the random numbers of one rank and the next: samples of a batch are dropped out independently."""


@dataclass(frozen=True)
class Spread:
    """How a model is trained on several devices: the way, the ranks, and how the workload's layers are split.

    With `evaluated`, the trained weights are brought together in a model of its own, which rank 0 evaluates;
    else the model itself is sharded, and memory is that of training alone.
    """

    parallel: Technique[ParallelRow]
    ranks: Ranks
    plan: TensorPlan | None = None
    evaluated: torch.nn.Module | None = None

    @property
    def text(self) -> str:
        """Say the way, the number of ranks, and what carries their tensors."""
        return f"{self.parallel.text} on {self.ranks.size} devices over {self.ranks.backend}"

    def step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        device: torch.device,
        precision: str,
        options: TrainingOptions = AS_IT_COMES,
        regime: Regime = PLAIN,
    ) -> ParallelTrainingStep:
        """Return a step of every rank. Raises CannotApply where one of these does not go with the others."""
        self._refuse(precision, options, regime)
        shared = SharedLoss(loss, self.ranks if self.parallel.row.splits_batches else None)
        wrap = partial(self.parallel.load(), ranks=self.ranks, plan=self.plan)
        sharded = self.parallel.row.shards_weights
        # An optimizer is one of the weights that a rank has.
        own = wrap(model.to(device)) if sharded else model
        prepared = (own, shared, optimizer, device, precision, options, regime)
        inner = TorchTrainingStep.prepare(*prepared, *([] if sharded else [wrap]))
        _refuse_optimizer(inner.optimizer, self)
        inner.model.train()
        if self.parallel.row.splits_batches:
            torch.manual_seed((torch.initial_seed() + FURTHER_SEEDS * self.ranks.rank) % 2**63)
        return ParallelTrainingStep(inner, shared, self, model)

    def _refuse(self, precision: str, options: TrainingOptions, regime: Regime) -> None:
        name, sharded = self.parallel.name, self.parallel.row.shards_weights
        if options.accumulate > 1:
            raise CannotApply(f"parallel={name}: accumulate={options.accumulate} is for one device")
        if sharded and precision == "fp16":
            raise CannotApply(f"parallel={name}: fp16's scaled gradients are for whole weights; use bf16")
        if sharded and regime.averages:
            raise CannotApply(f"parallel={name}: average={regime.average.text} is for whole weights")
        if self.parallel.row.planned and regime.clips:
            raise CannotApply(
                f"parallel={name}: clip={regime.clip.text} is for weights that are sharded alike"
            )


def _refuse_optimizer(optimizer: torch.optim.Optimizer, spread: Spread) -> None:
    kind, name = type(optimizer).__name__, spread.parallel.name
    if evaluates_by_closure(optimizer):
        raise CannotApply(f"parallel={name}: {kind} evaluates the loss itself, of which a rank has a share")
    if differentiates_twice(optimizer):
        raise CannotApply(f"parallel={name}: {kind} takes gradients of gradients, which are not averaged")
    if spread.parallel.row.shards_weights and swaps_weights(optimizer):
        raise CannotApply(f"parallel={name}: {kind} exchanges weights, which are sharded")


class SharedLoss:
    """The loss of a rank's share, so weighted that the mean over the ranks is the loss of the whole batch.

    A mean over samples has weights of 1; one that leaves targets out (padding) has others in each batch.
    Without `ranks` every rank has the whole batch.
    """

    def __init__(self, loss: Loss, ranks: Ranks | None) -> None:
        self._loss, self._ranks = loss, ranks
        self._weights = Accumulation(loss, ranks.size, "devices") if ranks else None
        self._targets: torch.Tensor | None = None

    @property
    def method(self) -> str:
        """Say how the shares' losses are added up."""
        return self._weights.method if self._weights else "each rank takes the whole batch"

    def begin(self, targets: torch.Tensor) -> None:
        """Take the targets of the whole batch that comes."""
        self._targets = targets

    def study(self, outputs: torch.Tensor, epoch: Iterable[torch.Tensor]) -> None:
        """Look whether all batches of an epoch have shares of one weight; see `Accumulation.study`."""
        if self._weights is not None:
            self._weights.study(outputs, epoch)

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the weighted loss of this rank's share."""
        if self._ranks is None or self._weights is None:
            return self._loss(outputs, targets)
        assert self._targets is not None, "a step begins with its targets"
        weight = self._weights.weights(outputs, self._targets)[self._ranks.rank]
        # A share of padding alone has no mean, but its rank must take part in the backward pass.
        loss = self._loss(outputs, targets) if weight else _nothing(outputs)
        scale = weight * self._ranks.size
        return loss if scale == 1 else loss * scale


def _nothing(outputs: Any) -> torch.Tensor:
    """Return a loss of 0 that reaches every output."""
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    return torch.stack([leaf.nan_to_num().sum() * 0.0 for leaf in leaves]).sum()


@dataclass
class ParallelTrainingStep:
    """A step that every rank takes on its share of a batch, or on all of it.

    Gradients are those of the batch. `inner` steps in PyTorch. `trained` is the module whose weights it
    trains, in part or whole.
    """

    inner: TorchTrainingStep
    loss: SharedLoss
    spread: Spread
    trained: torch.nn.Module

    @property
    def model(self) -> torch.nn.Module:
        """Return what rank 0 evaluates, after `gather`."""
        evaluated = self.spread.evaluated
        return self.trained if evaluated is None else evaluated

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Return this rank's optimizer."""
        return self.inner.optimizer

    @property
    def passes(self) -> int:
        """Return how often a batch went forward and backward so far."""
        return self.inner.passes

    @property
    def method(self) -> str:
        """Say how the ranks take a step."""
        return f"{self.spread.text}: {self.loss.method}"

    @property
    def averaged(self) -> Sequence[torch.Tensor]:
        """Return the tensors of the average of weights that is kept so far."""
        return self.inner.averaged

    def clipping(self) -> ClippingRecord | None:
        """Return how often gradients were clipped so far; None where they are not."""
        return self.inner.clipping()

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Take a step on this rank's share; the batch's loss is the mean of what the ranks return."""
        self.loss.begin(targets)
        return self.inner(batch, targets[self.share(len(targets))])

    def share(self, count: int) -> slice:
        """Return which of so many samples this rank takes; raises CannotApply where shares are not equal."""
        if not self.spread.parallel.row.splits_batches:
            return slice(count)
        size = self.spread.ranks.size
        if count % size:
            raise CannotApply(
                f"parallel={self.spread.parallel.name}: a batch of {count} cannot be shared equally by "
                f"devices={size}; use a multiple"
            )
        return self.spread.ranks.share(count)

    def warm_up(self, batch: torch.Tensor, targets: torch.Tensor, epoch: Iterable[torch.Tensor] = ()) -> None:
        """Go forward and backward once on this rank's share; afterwards weights are as they were.

        Raises CannotApply where the loss of a batch is no weighted sum of its shares', and where a plan to
        split layers changes the model's outputs.
        """
        self._check_plan(batch)
        self.loss.begin(targets)
        self.inner.warm_up(batch, targets[self.share(len(targets))])
        if self.spread.parallel.row.splits_batches:
            self.inner.model.eval()
            with torch.no_grad():
                outputs = self.inner.model(batch)
            self.inner.model.train()
            self.loss.study(outputs, (each.to(targets.device) for each in epoch))

    def _check_plan(self, batch: torch.Tensor) -> None:
        """Hold the outputs of layers that a plan splits against the whole model's, where that is here."""
        if not self.spread.parallel.row.planned or self.spread.evaluated is None:
            return
        whole_outputs, outputs = (
            torch.cat([each.flatten() for each in _evaluated(model, batch)])
            for model in (self.spread.evaluated, self.trained)
        )
        off = float((whole_outputs - outputs).abs().max() / whole_outputs.abs().max())
        if not off <= _TOLERANCE:
            raise CannotApply(
                f"parallel={self.spread.parallel.name}: the workload's plan changes its model's outputs, by "
                f"{off:.2g} of the largest"
            )
        self.trained.train()

    def write_back(self) -> None:
        """Have the optimizer put the weights in place that are evaluated, in the parts that ranks have."""
        self.inner.write_back()

    def gather(self) -> None:
        """Bring the parts of all ranks together in `model`; every rank must call it.

        It is how the suite evaluates, on rank 0, and no part of training.
        """
        evaluated = self.spread.evaluated
        if evaluated is None:
            return
        own = dict(_tensors(self.trained))
        with torch.no_grad():
            for name, tensor in _tensors(evaluated):
                tensor.copy_(whole(own[name]))


@torch.no_grad()
def _evaluated(model: torch.nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return compared(model.eval()(batch))


def _tensors(model: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]
