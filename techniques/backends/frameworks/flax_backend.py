"""Flax and optax on JAX: a backend that trains, on the CPU."""

from __future__ import annotations

import torch

from techniques.backends.frameworks.trains_only import TrainsOnCpu
from techniques.backends.training import Loss, TrainingStep
from techniques.optimizers import OptimizerRow
from techniques.regime import PLAIN, Regime
from techniques.registry import Technique


class Flax(TrainsOnCpu):
    """Layers of Flax, trained by optax."""

    def compile_step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        regime: Regime = PLAIN,
    ) -> TrainingStep:
        """Return a step as one program of JAX; raises CannotApply as `FlaxTrainingStep` does."""
        from techniques.backends.frameworks.flax_step import FlaxTrainingStep

        return FlaxTrainingStep(model, loss, optimizer, regime)
