"""Keras on JAX, on PyTorch and on TensorFlow: backends that train, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from techniques.backends.frameworks.trains_only import TrainsOnCpu
from techniques.backends.training import Loss, TrainingStep
from techniques.optimizers import OptimizerRow
from techniques.regime import PLAIN, Regime
from techniques.registry import CannotApply, Technique

if TYPE_CHECKING:
    from techniques.backends.frameworks.keras_training import KerasTrainingStep


class Keras(TrainsOnCpu):
    """Keras on one of its back ends. A process has one, which is chosen before Keras is imported."""

    def __init__(self, name: str, step: Callable[[], type[KerasTrainingStep]]) -> None:
        self._name, self._step = name, step

    def compile_step(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        regime: Regime = PLAIN,
    ) -> TrainingStep:
        """Return a step of Keras's.

        Raises CannotApply as `KerasTrainingStep` does, and where this process has Keras on another back end.
        """
        step = self._step()
        import keras

        own = keras.config.backend()
        if own != self._name:
            raise CannotApply(f"this process has Keras on {own}; {self._name} requires one of its own")
        keras.config.set_floatx("float32")  # whatever a file of the user's says
        step.start(torch.get_num_threads())
        return step(model, loss, optimizer, regime)


def on_jax() -> Keras:
    """Return Keras on JAX."""
    return Keras("jax", _jax)


def on_torch() -> Keras:
    """Return Keras on PyTorch."""
    return Keras("torch", _torch)


def on_tensorflow() -> Keras:
    """Return Keras on TensorFlow."""
    return Keras("tensorflow", _tensorflow)


# Each import chooses the back end.


def _jax() -> type[KerasTrainingStep]:
    from techniques.backends.frameworks.keras_jax_step import KerasJaxStep

    return KerasJaxStep


def _torch() -> type[KerasTrainingStep]:
    from techniques.backends.frameworks.keras_torch_step import KerasTorchStep

    return KerasTorchStep


def _tensorflow() -> type[KerasTrainingStep]:
    from techniques.backends.frameworks.keras_tensorflow_step import KerasTensorFlowStep

    return KerasTensorFlowStep
