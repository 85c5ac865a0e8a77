"""A regime at work on an optimizer of PyTorch: rates before a step, gradients in it, an average after it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from techniques.optimizers.torch_optim import evaluates_by_closure, swaps_weights
from techniques.regime import Regime, clash_with_own_average
from techniques.regime.clipping import ClippingLog, ClippingRecord
from techniques.registry import CannotApply

STATISTICS = ("running_mean", "running_var")
"""Buffers of batch normalization, which are averaged as weights are; other buffers stay the trained ones."""


class AppliedRegime:
    """Sets the rates of every group of an optimizer, clips gradients, and averages a model's weights.

    Raises CannotApply where the regime does not go with the optimizer.
    """

    def __init__(self, regime: Regime, optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> None:
        _refuse_mismatch(regime, optimizer)
        self._optimizer = optimizer
        self._taken = regime.taken
        self._schedule = regime.factor if regime.changes_rates else None
        self._rates = [(group, float(group["lr"])) for group in optimizer.param_groups if self._schedule]
        self._weight = regime.weight if regime.averages else None
        self._clip = partial(regime.clip.load(), **regime.clip.settings) if regime.clips else None
        self._log = ClippingLog()
        self.average = WeightAverage(model)

    def begin_step(self) -> None:
        """Set the rates of the step to come."""
        if self._schedule is None:
            return
        factor = self._schedule(self._taken)
        for group, own in self._rates:
            # Compiled updates hold on to the tensor of a rate that is one.
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(own * factor)
            else:
                group["lr"] = own * factor

    def clip(self, scaler: torch.amp.GradScaler | None) -> None:
        """Clip gradients that were computed, after their scale is taken off them."""
        if self._clip is not None:
            if scaler is not None:
                scaler.unscale_(self._optimizer)
            groups = self._optimizer.param_groups
            self._log.add(self._clip([entry for group in groups for entry in group["params"]]))

    def end_step(self) -> None:
        """Take the weights after a step into the average, and count the step."""
        weight = self._weight(self._taken) if self._weight else 0.0
        if weight:
            self.average.update(weight)
        self._taken += 1

    def clipping(self) -> ClippingRecord | None:
        """Return how often gradients were clipped so far; None where they are not."""
        return self._log.record()


def _refuse_mismatch(regime: Regime, optimizer: torch.optim.Optimizer) -> None:
    kind = type(optimizer).__name__
    schedule, clip, _ = regime.techniques
    if swaps_weights(optimizer) and (text := clash_with_own_average(regime)):
        raise CannotApply(f"{kind} {text}")
    if regime.clips and evaluates_by_closure(optimizer):
        raise CannotApply(f"{kind} computes gradients by itself: clip={clip.text} cannot change them")
    if regime.changes_rates and not all("lr" in group for group in optimizer.param_groups):
        raise CannotApply(f"{kind} has no rate (lr) that schedule={schedule.text} could change")


class WeightAverage:
    """The average of a model's weights, which `eval` puts in their place and `train` takes out again.

    There is none before the first `update`. Weights that are not trained have no average.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._own: list[torch.Tensor] = []
        self.tensors: list[torch.Tensor] = []
        self._shown = False

    @torch.no_grad()
    def update(self, weight: float) -> None:
        """Take in the model's weights, which from then on have this share in the average."""
        if not self.tensors:
            self._own = list(averaged_tensors(self._model))
            self.tensors = [tensor.detach().clone() for tensor in self._own]
        else:
            torch._foreach_lerp_(self.tensors, self._own, weight)

    def eval(self) -> None:
        """Put the average in the place of the weights, if there is one."""
        if not self._shown:
            self._exchange()

    def train(self) -> None:
        """Put the trained weights back."""
        if self._shown:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # In place: optimizers and compiled code may hold on to the memory of weights.
        for own, average in zip(self._own, self.tensors, strict=True):
            kept = own.clone()
            own.copy_(average)
            average.copy_(kept)
        self._shown = bool(self.tensors) and not self._shown


def averaged_tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Yield what has an average: weights that are trained, and statistics of batch normalization."""
    yield from (entry for entry in model.parameters() if entry.requires_grad)
    yield from (buffer for name, buffer in model.named_buffers() if name.endswith(STATISTICS))
