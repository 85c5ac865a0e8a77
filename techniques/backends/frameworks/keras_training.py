"""A step of training in Keras, whatever back end computes it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import torch

from techniques.backends.frameworks.exported import Value
from techniques.backends.frameworks.keras_layers import KerasLayers, functional
from techniques.backends.frameworks.keras_optimizers import keras_optimizer
from techniques.backends.frameworks.loss_operators import LOSS_OPERATORS
from techniques.backends.frameworks.training import exported_step, refuse_left_out, write_weights
from techniques.backends.frameworks.weights import host
from techniques.backends.training import Loss, refuse_other_numbers
from techniques.optimizers import OptimizerRow
from techniques.regime import Regime
from techniques.registry import CannotApply, Technique

Arrays = np.ndarray[Any, Any]


class KerasTrainingStep:
    """Trains a functional model of Keras, with the layers and weights of `model`, by Keras's optimizer.

    `model` has the trained weights after `write_back`. The model of Keras is made for the shape of the first
    batch. Batches are laid out for Keras within the step. Dropout draws Keras's own numbers. A subclass takes
    the step by its back end. Raises CannotApply for a regime, and as `keras_optimizer` does.
    """

    optimizer = None
    passes = 0
    averaged: tuple[torch.Tensor, ...] = ()
    compiles = ""
    """How the back end runs a step, in words."""

    @staticmethod
    def start(threads: int) -> None:
        """Start the back end on the CPU with this many threads; PyTorch has them already."""

    def __init__(
        self, model: torch.nn.Module, loss: Loss, optimizer: Technique[OptimizerRow], regime: Regime
    ) -> None:
        refuse_other_numbers(model, "fp32")
        if not regime.plain:
            raise CannotApply(
                "Keras trains here without schedule, clip and average; the backend jax has them"
            )
        self.model = model
        self._loss = loss
        self._optimizer = keras_optimizer(optimizer)
        self._net: Any = None
        self._written = 0
        self._shape: torch.Size | None = None

    @property
    def method(self) -> str:
        """Say which Keras takes the step, and how."""
        return f"Keras {keras.version()} on {keras.config.backend()}, {self.compiles}; channels last"

    def state_bytes(self) -> int:
        """Return the bytes of the optimizer's variables, but for its rate."""
        kept = [each for each in self._optimizer.variables if each.name != "learning_rate"]
        return sum(math.prod(each.shape) * np.dtype(each.dtype).itemsize for each in kept)

    def clipping(self) -> None:
        """Return None: gradients are not clipped."""
        return

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self._prepare(batch, targets)
        self.passes += 1
        return torch.tensor(float(self._take(host(batch), host(targets))))

    def warm_up(self, batch: torch.Tensor, targets: torch.Tensor, epoch: Iterable[torch.Tensor] = ()) -> None:
        """Make and compile the step for batches of this shape; weights and state stay as they were.

        Raises CannotApply where a layer or the loss has no counterpart in Keras.
        """
        self._prepare(batch, targets)
        refuse_left_out(self._exported_loss, (targets, *epoch))
        self._rehearse(host(batch), host(targets))

    def write_back(self) -> None:
        """Copy the trained weights and statistics into `model`."""
        if self._net is None:
            return
        self._sync()
        arrays = {
            name: (keras.ops.convert_to_numpy(variable), layout)
            for name, (variable, layout) in self._weights.items()
        }
        write_weights(self.model, arrays, self.passes - self._written)
        self._written = self.passes

    def loss_of(self, outputs: Any, targets: Any) -> Any:
        """Return the loss of Keras's outputs, by the operators of PyTorch's."""
        return self._exported_loss.walk(self._functions, LOSS_OPERATORS, Value(outputs), Value(targets))

    def _prepare(self, batch: torch.Tensor, targets: torch.Tensor) -> None:
        if self._shape is not None:
            if batch.shape != self._shape:
                raise CannotApply(
                    f"Keras trains batches of {tuple(self._shape)} here, as the first was, not of "
                    f"{tuple(batch.shape)}"
                )
            return
        self._shape = batch.shape
        exported, self._exported_loss = exported_step(self.model, self._loss, batch, targets)
        self._functions = KerasLayers(torch.nn.Identity())
        self._net, self._weights = functional(self.model, exported, batch)
        self._optimizer.build(self._net.trainable_variables)
        self._begin(self._net, self._optimizer)

    def _begin(self, net: Any, optimizer: Any) -> None:
        """Get ready to take steps with a model and a built optimizer."""
        raise NotImplementedError

    def _take(self, batch: Arrays, targets: Arrays) -> Any:
        """Take a step; return the loss."""
        raise NotImplementedError

    def _sync(self) -> None:
        """Bring what was trained into Keras's variables, where it is kept elsewhere."""

    def _rehearse(self, batch: Arrays, targets: Arrays) -> None:
        """Take a step, and put back everything that it changed."""
        variables = [*self._net.variables, *self._optimizer.variables]
        kept = [np.array(keras.ops.convert_to_numpy(each)) for each in variables]
        self._take(batch, targets)
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
