"""A step of training in Flax (NNX) and optax, one program of JAX."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import torch
from flax import nnx

from techniques.backends.frameworks.exported import Value
from techniques.backends.frameworks.flax_layers import FlaxLayers, Layers
from techniques.backends.frameworks.loss_operators import LOSS_OPERATORS
from techniques.backends.frameworks.operators import OPERATORS
from techniques.backends.frameworks.training import exported_step, refuse_left_out, write_weights
from techniques.backends.frameworks.weights import host, named_tensors
from techniques.backends.jax_training import Arrays, JaxTrainingStep
from techniques.backends.training import Loss, refuse_other_numbers
from techniques.backends.xla_compat import start
from techniques.optimizers import OptimizerRow
from techniques.regime import Regime
from techniques.registry import CannotApply, Technique


class FlaxTrainingStep(JaxTrainingStep):
    """Trains layers of Flax that have the weights of `model`, which gets them back by `write_back`.

    Layers are made at the first batch, for batches of its shape, which are laid out for Flax within the step.
    Dropout draws JAX's numbers, seeded by PyTorch's seed.
    """

    method = f"Flax {flax.__version__} and optax, jax.jit; channels last"

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        regime: Regime,
    ) -> None:
        refuse_other_numbers(model, "fp32")
        super().__init__(model, optimizer, start("cpu", torch.get_num_threads()), regime)
        self._loss = loss
        self._written = 0
        self._shape: torch.Size | None = None

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self._prepare(batch, targets)
        return super().__call__(batch, targets)

    def warm_up(self, batch: torch.Tensor, targets: torch.Tensor, epoch: Iterable[torch.Tensor] = ()) -> None:
        """Make and compile the step for batches of this shape.

        Raises CannotApply where a layer or the loss has no counterpart in Flax.
        """
        self._prepare(batch, targets)
        refuse_left_out(self._exported_loss, (targets, *epoch))
        self._program(self._given(batch), self._given(targets))

    def write_back(self) -> None:
        """Copy the trained weights and statistics into `model`, their average where there is one."""
        if self._state is None:
            return
        arrays = {name: (array, self._places[name][1]) for name, array in self._evaluated().items()}
        write_weights(self.model, arrays, self.passes - self._written)
        self._written = self.passes

    def _prepare(self, batch: torch.Tensor, targets: torch.Tensor) -> None:
        if self._shape is not None:
            if batch.shape != self._shape:
                raise CannotApply(
                    f"Flax trains batches of {tuple(self._shape)} here, as the first was, not of "
                    f"{tuple(batch.shape)}"
                )
            return
        self._shape = batch.shape
        self._exported, self._exported_loss = exported_step(self.model, self._loss, batch, targets)
        made = FlaxLayers(Layers(), self.model)
        self._images = batch.dim() == 4 and batch.is_floating_point()
        self._exported.walk(made, OPERATORS, Value(jnp.asarray(host(batch)), last=self._images))
        self._places = made.places
        self._structure, state = nnx.split(made.layers)
        self._tree = jax.tree.structure(state)
        names = {place: name for name, (place, _) in self._places.items()}
        self._names = [names[_place(path)] for path, _ in jax.tree_util.tree_flatten_with_path(state)[0]]
        # Not those of the layers: going through them has changed their statistics.
        tensors = named_tensors(self.model)
        layouts = {name: self._places[name][1] for name in self._names}
        self._begin({name: jnp.asarray(layout.given(tensors[name])) for name, layout in layouts.items()})

    def _given(self, tensor: torch.Tensor) -> jax.Array:
        return jax.device_put(host(tensor), self._device)

    def _loss_of(
        self, parameters: Arrays, others: Arrays, key: jax.Array, batch: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, Arrays]:
        arrays = parameters | others
        state = jax.tree.unflatten(self._tree, [arrays[name] for name in self._names])
        layers = nnx.merge(self._structure, state)
        framework = FlaxLayers(layers, key=key)
        outputs = self._exported.walk(framework, OPERATORS, Value(batch, last=self._images))
        loss = self._exported_loss.walk(framework, LOSS_OPERATORS, Value(outputs), Value(targets))
        left = dict(zip(self._names, jax.tree.leaves(nnx.state(layers)), strict=True))
        return loss.astype(jnp.float32), {name: left[name] for name in others}


def _place(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the attributes on the way to an array: of a layer, and of the layers."""
    names = [getattr(entry, "key", getattr(entry, "name", None)) for entry in path]
    return tuple(str(name) for name in names if name not in (None, "value", "raw_value"))
