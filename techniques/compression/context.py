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

    @property
    def seed(self) -> int:
        """The cell's seed: whatever a step draws by lot should depend on nothing else."""
        ...

    def calibration(self) -> Iterable[torch.Tensor]:
        """Yield batches of training inputs, without labels."""
        ...

    def losses(self, model: torch.nn.Module) -> Iterable[torch.Tensor]:
        """Yield the workload's loss of the model on each calibration batch, for gradients to be taken.

        The model is in evaluation mode: the losses are the same each time.
        """
        ...

    def note_quality(self, moment: str, model: torch.nn.Module) -> None:
        """Record the model's quality at this moment of the step."""
        ...

    def recover(self, model: torch.nn.Module, part: int = 0, parts: int = 1) -> None:
        """Train the model in place, for the workload's recovery budget of steps.

        A step that recovers several times takes a `part` of the budget, from 0, of so many equal `parts`.
        """
        ...

    def student(self, width: float = 1.0, depth: float = 1.0, into: str = "") -> torch.nn.Module:
        """Return a fresh model of this workload with `width` times the channels or `depth` times the layers.

        With `into`, the model of the workload of that name. Its weights depend on the seed alone. Raises
        CannotApply where there is no such model.
        """
        ...

    def teach(self, student: torch.nn.Module, loss: TaughtLoss | None) -> None:
        """Train a student in place, for the workload's budget of steps; without `loss`, by its own loss."""
        ...
