"""Compression contexts for tests of what a step does to the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn


class Untrained:
    """A context that recovers nothing. Its calibration batches have targets of mean squared error 0."""

    seed = 0

    def __init__(self, example: torch.Tensor, batches: Sequence[torch.Tensor] = ()) -> None:
        self.example = example
        self.batches = batches
        self.moments: list[str] = []

    def calibration(self) -> Iterable[torch.Tensor]:
        return self.batches

    def losses(self, model: nn.Module) -> Iterable[torch.Tensor]:
        for batch in self.batches:
            yield model.eval()(batch).square().mean()

    def note_quality(self, moment: str, model: nn.Module) -> None:
        self.moments.append(moment)

    def recover(self, model: nn.Module, part: int = 0, parts: int = 1) -> None:
        self.moments.append("recovered")
