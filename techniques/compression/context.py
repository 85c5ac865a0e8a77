"""The context that a compression step gets in addition to the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import torch

TaughtLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""A student's loss from its outputs (batch, ...), its teacher's on the same samples, and the workload's own
loss of the batch."""


class Context(Protocol):
    """The run's side of a compression step; `bench.stages.compress` implements it."""

    @property
    def example(self) -> torch.Tensor:
        """One batch of inputs, shape (1, ...)."""
        ...

    def calibration(self) -> Iterable[torch.Tensor]:
        """Yield batches of training inputs, without labels."""
        ...

    def note_quality(self, moment: str, model: torch.nn.Module) -> None:
        """Record the model's quality at this moment of the step."""
        ...

    def recover(self, model: torch.nn.Module) -> None:
        """Train the model in place, for the workload's recovery budget of steps."""
        ...

    def student(self, width: float) -> torch.nn.Module:
        """Return a fresh model of this workload whose layers have `width` times the channels.

        Its weights depend on the seed alone. Raises CannotApply where the workload has no such model.
        """
        ...

    def teach(self, student: torch.nn.Module, loss: TaughtLoss | None) -> None:
        """Train a student in place, for the workload's budget of steps; without `loss`, by its own loss."""
        ...
