"""The loss of the first steps: launches that start alike agree on it where the backend is deterministic."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from bench.records import Measurement

FIRST = 4
"""Steps that every timed launch takes: the first call, and its warm-up's."""


class EarlyLoss:
    """A step that keeps the losses of its first calls.

    `of_all` makes losses of whole batches of them, where this process has only a share.
    """

    def __init__(
        self, step: Callable[[], torch.Tensor], of_all: Callable[[list[float]], list[float]] = list
    ) -> None:
        self._step, self._of_all = step, of_all
        self._losses: list[torch.Tensor] = []

    def __call__(self) -> torch.Tensor:
        """Take the step."""
        loss = self._step()
        if len(self._losses) < FIRST:
            self._losses.append(loss.detach().clone())  # a compiled step may write the next one over it
        return loss

    def measured(self) -> Measurement:
        """Return the mean of the first losses: losses that differ in a bit of single precision change it."""
        losses = self._of_all([float(loss) for loss in self._losses])
        method = f"mean of the first {FIRST} losses, from the same seed in each launch"
        if len(losses) < FIRST:
            return Measurement("early_loss", None, reason=f"fewer than {FIRST} steps were taken")
        if not all(map(math.isfinite, losses)):
            return Measurement("early_loss", None, method=method, reason="a loss was not finite")
        return Measurement("early_loss", math.fsum(losses) / FIRST, n=FIRST, method=method)
