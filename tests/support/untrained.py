"""A compression context that trains nothing: for tests of what a step does to the model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class Untrained:
    """A context that recovers nothing."""

    def __init__(self, example: torch.Tensor) -> None:
        self.example = example
        self.moments: list[str] = []

    def calibration(self) -> Iterable[torch.Tensor]:
        return []

    def note_quality(self, moment: str, model: nn.Module) -> None:
        self.moments.append(moment)

    def recover(self, model: nn.Module) -> None:
        self.moments.append("recovered")
