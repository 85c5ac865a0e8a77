"""A step of Keras's on JAX, one program of XLA.

As in Keras's guide "Writing a training loop from scratch in JAX": the model and the optimizer are called
without state, which goes through the program.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import numpy as np

from techniques.backends.frameworks.keras_training import Arrays, KerasTrainingStep
from techniques.backends.xla_compat import start


class KerasJaxStep(KerasTrainingStep):
    """Keeps weights and the optimizer's state as arrays, which each step gives back to the memory it had."""

    compiles = "jax.jit"

    @staticmethod
    def start(threads: int) -> None:
        """Start JAX on the CPU with this many threads."""
        start("cpu", threads)

    def _begin(self, net: Any, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._variables = (net.trainable_variables, net.non_trainable_variables, optimizer.variables)
        # Copies: a step takes over the memory of the state before it.
        self._state = [[each.value.copy() for each in group] for group in self._variables]

        def loss_of(trainable: Any, others: Any, batch: Any, targets: Any) -> tuple[Any, Any]:
            outputs, others = net.stateless_call(trainable, others, batch, training=True)
            return self.loss_of(outputs, targets), others

        differentiate = jax.value_and_grad(loss_of, has_aux=True)

        def step(state: Any, batch: Any, targets: Any) -> tuple[Any, Any]:
            trainable, others, kept = state
            (loss, others), gradients = differentiate(trainable, others, batch, targets)
            trainable, kept = optimizer.stateless_apply(kept, gradients, trainable)
            return [trainable, others, kept], loss

        self._step = jax.jit(step, donate_argnums=0)

    def _take(self, batch: Arrays, targets: Arrays) -> Any:
        self._state, loss = self._step(self._state, batch, targets)
        return np.asarray(loss)

    def _sync(self) -> None:
        for group, arrays in zip(self._variables, self._state, strict=True):
            for variable, array in zip(group, arrays, strict=True):
                variable.assign(array.copy())

    def _rehearse(self, batch: Arrays, targets: Arrays) -> None:
        kept = jax.tree.map(lambda array: array.copy(), self._state)
        self._take(batch, targets)
        self._state = kept
