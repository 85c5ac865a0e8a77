"""A step of training as one program of JAX: forward, loss, gradients, and the update of weights in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from techniques.backends.frameworks.optax_rules import clipping_limit, update_rule
from techniques.backends.xla_compat import to_device, to_torch
from techniques.optimizers import OptimizerRow
from techniques.regime import Regime
from techniques.regime.applied import STATISTICS
from techniques.regime.clipping import ClippingLog, ClippingRecord
from techniques.registry import Technique

Arrays = dict[str, jax.Array]


class JaxTrainingStep:
    """Trains weights on a device by optax; a subclass has the loss of a batch, and the way back to PyTorch.

    A call returns the loss as a tensor on the CPU, and has to wait for the device for that. A schedule
    multiplies the updates, which are proportional to the rate. Raises CannotApply for an optimizer or a
    clipping without a rule here.
    """

    optimizer = None
    passes = 0
    method = ""

    def __init__(
        self, model: torch.nn.Module, optimizer: Technique[OptimizerRow], device: jax.Device, regime: Regime
    ) -> None:
        self.model = model
        self._device = device
        self._rule = update_rule(optimizer)
        self._regime, self._taken = regime, regime.taken
        self._limit = clipping_limit(regime)
        self._log = ClippingLog()
        self._average_begun = False
        self._state: Any = None
        self._compiled: dict[Any, jax.stages.Compiled] = {}

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        given = self._given(batch), self._given(targets)
        now = self._now()
        self._state, loss, norm = self._program(*given)(self._state, now, *given)
        if self._limit is not None:
            self._log.add((torch.tensor(float(norm)), torch.tensor(float(norm) > self._limit)))
        self._average_begun = self._average_begun or bool(now.get("weight", 0))
        self._taken += 1
        self.passes += 1
        return to_torch(loss)

    @property
    def averaged(self) -> Sequence[torch.Tensor]:
        """Return the tensors of the average of weights, copied from the device."""
        return [] if self._state is None else [to_torch(array) for array in self._state[-1].values()]

    def state_bytes(self) -> int:
        """Return the bytes of what optax keeps from step to step; none before the first step."""
        if self._state is None:
            return 0
        return sum(int(array.nbytes) for array in jax.tree.leaves(self._state[2]))

    def clipping(self) -> ClippingRecord | None:
        """Return how often gradients were clipped so far; None where they are not."""
        return self._log.record()

    def _loss_of(
        self, parameters: Arrays, others: Arrays, key: jax.Array, batch: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, Arrays]:
        """Return the loss, and what the forward pass made of the arrays that are not trained."""
        raise NotImplementedError

    def _given(self, tensor: torch.Tensor) -> jax.Array:
        """Return a batch or targets on the device."""
        return to_device(tensor, self._device)

    def _begin(self, arrays: Arrays) -> None:
        """Set the state before the first step: these weights and buffers, by their names in the model."""
        learnt = {name for name, tensor in self.model.named_parameters() if tensor.requires_grad}
        parameters = {name: array for name, array in arrays.items() if name in learnt}
        others = {name: array for name, array in arrays.items() if name not in learnt}
        key = jax.random.key(torch.initial_seed() % 2**32)
        average = {name: array.copy() for name, array in self._averaged(parameters, others).items()}
        self._state = (parameters, others, self._rule.init(parameters), key, average)

    def _evaluated(self) -> Arrays:
        """Return the weights and buffers that are evaluated: the trained ones, or their average."""
        parameters, others, _, _, average = self._state
        arrays: Arrays = parameters | others | (average if self._average_begun else {})
        return arrays

    def _averaged(self, parameters: Arrays, others: Arrays) -> Arrays:
        """Return what has an average: weights, and statistics of batch normalization."""
        if not self._regime.averages:
            return {}
        return parameters | {name: array for name, array in others.items() if name.endswith(STATISTICS)}

    def _now(self) -> dict[str, Any]:
        """Return what a regime sets anew in each step: a factor of the rate, the share of new weights."""
        now: dict[str, Any] = {}
        if self._regime.changes_rates:
            now["factor"] = np.float32(self._regime.factor(self._taken))
        if self._regime.averages:
            weight = self._regime.weight(self._taken)
            now["weight"] = np.float32(1 if weight and not self._average_begun else weight)
        return now

    def _program(self, batch: jax.Array, targets: jax.Array) -> jax.stages.Compiled:
        shapes = (batch.shape, batch.dtype, targets.shape, targets.dtype)
        if shapes not in self._compiled:
            was = self.model.training
            self.model.train()
            step = jax.jit(self._step, donate_argnums=0)
            self._compiled[shapes] = step.lower(self._state, self._now(), batch, targets).compile()
            self.model.train(was)
        return self._compiled[shapes]

    def _step(
        self, state: Any, now: Mapping[str, jax.Array], batch: jax.Array, targets: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array | None]:
        parameters, others, moments, key, average = state
        key, own = jax.random.split(key)
        differentiate = jax.value_and_grad(self._loss_of, has_aux=True)
        (loss, others), gradients = differentiate(parameters, others, own, batch, targets)
        gradients, norm = self._clipped(gradients)
        updates, moments = self._rule.update(gradients, moments, parameters)
        if "factor" in now:
            updates = jax.tree.map(lambda update: now["factor"] * update, updates)
        parameters = optax.apply_updates(parameters, updates)
        if "weight" in now:
            new = self._averaged(parameters, others)
            average = optax.incremental_update(new, average, now["weight"])
        return (parameters, others, moments, key, average), loss, norm

    def _clipped(self, gradients: Arrays) -> tuple[Arrays, jax.Array | None]:
        """Return gradients scaled as `torch.nn.utils.clip_grad_norm_` does, and their norm before."""
        if self._limit is None:
            return gradients, None
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients.values()))
        scale = jnp.minimum(self._limit / (norm + 1e-6), 1.0)
        return jax.tree.map(lambda gradient: scale * gradient, gradients), norm
