"""What a compression step is given beside the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch


class Context(Protocol):
    """The run's side of a compression step; `bench.stages.compress` implements it."""

    example: torch.Tensor
    """One batch of inputs, shape (1, ...)."""

    def calibration(self) -> Iterable[torch.Tensor]:
        """Yield batches of training inputs, without labels."""
        ...

    def note_quality(self, moment: str, model: torch.nn.Module) -> None:
        """Put the model's quality on record, as it is at this moment of the step."""
        ...

    def recover(self, model: torch.nn.Module) -> None:
        """Train the model in place, for the workload's recovery budget of steps."""
        ...
