"""A step of training as one program of XLA: PyTorch's code, traced by torchax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import torch

from techniques.backends.jax_training import Arrays, JaxTrainingStep
from techniques.backends.training import Loss
from techniques.backends.xla_compat import call, environment, to_device, to_torch, tracing
from techniques.optimizers import OptimizerRow
from techniques.regime import PLAIN, Regime
from techniques.registry import Technique


class XlaTrainingStep(JaxTrainingStep):
    """Trains on the device; `model` has the trained weights and buffers after `write_back`.

    In bf16 the weights stay fp32: they, the inputs and the buffers are cast for the forward pass, the loss is
    fp32 of fp32 outputs, and so are gradients and statistics of batch normalization. Random numbers, of
    dropout say, come from JAX, seeded by PyTorch's seed.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        device: jax.Device,
        regime: Regime = PLAIN,
    ) -> None:
        super().__init__(model, optimizer, device, regime)
        self._loss, self._precision = loss, precision
        self._env = environment()
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._begin({name: to_device(tensor, device) for name, tensor in tensors.items()})

    def warm_up(self, batch: torch.Tensor, targets: torch.Tensor, epoch: Iterable[torch.Tensor] = ()) -> None:
        """Compile the step for batches of this shape; raises CannotApply where torchax cannot trace it."""
        self._program(self._given(batch), self._given(targets))

    def write_back(self) -> None:
        """Copy weights and buffers from the device into `model`, their average where there is one."""
        arrays = self._evaluated()
        with torch.no_grad():
            for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
                tensor.copy_(to_torch(arrays[name]))

    def _loss_of(
        self, parameters: Arrays, others: Arrays, key: jax.Array, batch: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, Arrays]:
        env = self._env
        arrays = parameters | others
        tensors = env.j2t_iso({name: self._cast(name, array) for name, array in arrays.items()})
        with env.override_property(prng=key), tracing(env, self._precision):
            outputs = call(env, self.model, tensors, self._cast("", batch))
            loss = env.t2j_iso(self._loss(_in_fp32(outputs), env.j2t_iso(targets)))
        left = {name: tensors[name].jax().astype(array.dtype) for name, array in others.items()}
        return loss.astype(jnp.float32), left

    def _cast(self, name: str, array: jax.Array) -> jax.Array:
        statistic = name.endswith(("running_mean", "running_var"))
        if self._precision == "fp32" or statistic or not jnp.issubdtype(array.dtype, jnp.floating):
            return array
        return array.astype(jnp.bfloat16)


def _in_fp32(outputs: Any) -> Any:
    narrow = isinstance(outputs, torch.Tensor) and outputs.dtype == torch.bfloat16
    return outputs.float() if narrow else outputs
