"""A step of training as one program of XLA: forward, loss, gradients, and the update of weights in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from techniques.backends.training import Loss
from techniques.backends.xla_compat import call, environment, to_device, to_torch, tracing
from techniques.optimizers import OptimizerRow
from techniques.optimizers.torch_optim import AUTO
from techniques.regime import CLIPS, PLAIN, Regime
from techniques.regime.applied import STATISTICS
from techniques.regime.clipping import ClippingLog, ClippingRecord
from techniques.registry import CannotApply, Technique

Arrays = dict[str, jax.Array]


class XlaTrainingStep:
    """Trains on the device; `model` has the trained weights and buffers after `write_back`.

    In bf16 the weights stay fp32: they, the inputs and the buffers are cast for the forward pass, the loss is
    fp32 of fp32 outputs, and so are gradients and statistics of batch normalization. Random numbers, of
    dropout say, come from JAX, seeded by PyTorch's seed. A call returns the loss as a tensor on the CPU, and
    has to wait for the device for that. A schedule multiplies the updates, which are proportional to the
    rate. Raises CannotApply for an optimizer or a clipping without a rule here.
    """

    optimizer = None
    passes = 0
    method = ""

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Loss,
        optimizer: Technique[OptimizerRow],
        precision: str,
        device: jax.Device,
        regime: Regime = PLAIN,
    ) -> None:
        self.model = model
        self._loss, self._precision, self._device = loss, precision, device
        self._env = environment()
        self._rule = update_rule(optimizer)
        self._regime, self._taken = regime, regime.taken
        self._limit = clipping_limit(regime)
        self._log = ClippingLog()
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        learnt = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
        arrays = {name: to_device(tensor, device) for name, tensor in tensors.items()}
        parameters = {name: array for name, array in arrays.items() if name in learnt}
        others = {name: array for name, array in arrays.items() if name not in learnt}
        key = jax.random.key(torch.initial_seed() % 2**32)
        average = {name: array.copy() for name, array in self._averaged(parameters, others).items()}
        self._average_begun = False
        self._state = (parameters, others, self._rule.init(parameters), key, average)
        self._compiled: dict[Any, jax.stages.Compiled] = {}

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        given = to_device(batch, self._device), to_device(targets, self._device)
        now = self._now()
        self._state, loss, norm = self._program(*given)(self._state, now, *given)
        if self._limit is not None:
            self._log.add((torch.tensor(float(norm)), torch.tensor(float(norm) > self._limit)))
        self._average_begun = self._average_begun or bool(now.get("weight", 0))
        self._taken += 1
        self.passes += 1
        return to_torch(loss)

    def warm_up(self, batch: torch.Tensor, targets: torch.Tensor, epoch: Iterable[torch.Tensor] = ()) -> None:
        """Compile the step for batches of this shape; raises CannotApply where torchax cannot trace it."""
        self._program(to_device(batch, self._device), to_device(targets, self._device))

    def write_back(self) -> None:
        """Copy weights and buffers from the device into `model`, their average where there is one."""
        parameters, others, _, _, average = self._state
        arrays = parameters | others | (average if self._average_begun else {})
        with torch.no_grad():
            for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
                tensor.copy_(to_torch(arrays[name]))

    @property
    def averaged(self) -> Sequence[torch.Tensor]:
        """Return the tensors of the average of weights, copied from the device."""
        return [to_torch(array) for array in self._state[-1].values()]

    def clipping(self) -> ClippingRecord | None:
        """Return how often gradients were clipped so far; None where they are not."""
        return self._log.record()

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


def clipping_limit(regime: Regime) -> float | None:
    """Return the norm that gradients are clipped to, None where they are not.

    Raises CannotApply for any other clipping.
    """
    if not regime.clips:
        return None
    if regime.clip.row != CLIPS.get("norm"):
        raise CannotApply(f"clip={regime.clip.text} has no rule in XLA")
    return float(regime.clip.settings["limit"])


def update_rule(optimizer: Technique[OptimizerRow]) -> optax.GradientTransformation:
    """Return the optimizer with PyTorch's update rule; raises CannotApply where it is not mapped to one."""
    implementation = optimizer.row.implementation
    if implementation not in _RULES:
        raise CannotApply(f"{optimizer.name} has no rule in XLA: {implementation} is not mapped to optax")
    settings = dict(optimizer.settings)
    if settings.pop("variant", AUTO) != AUTO:
        raise CannotApply(f"{optimizer.text} has no rule in XLA: variant is how PyTorch goes over tensors")
    try:
        return _RULES[implementation](**settings)
    except TypeError as error:
        raise CannotApply(f"{optimizer.name} has no rule in XLA: {error}") from None


def _sgd(
    lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.trace(momentum, nesterov) if momentum else optax.identity(),
        optax.scale_by_learning_rate(lr),
    )


def _adam(lr: float, eps: float = 1e-8, weight_decay: float = 0.0) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_adam(eps=eps),
        optax.scale_by_learning_rate(lr),
    )


def _adamw(lr: float, eps: float = 1e-8, weight_decay: float = 1e-2) -> optax.GradientTransformation:
    return optax.adamw(lr, eps=eps, weight_decay=weight_decay)


def _rmsprop(
    lr: float, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        # In optax eps is within the root by default.
        optax.scale_by_rms(alpha, eps, eps_in_sqrt=False),
        # Before the rate, as in PyTorch: what is kept is not scaled by rates that are over.
        optax.trace(momentum) if momentum else optax.identity(),
        optax.scale_by_learning_rate(lr),
    )


_RULES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "torch.optim:SGD": _sgd,
    "torch.optim:Adam": _adam,
    "torch.optim:AdamW": _adamw,
    "torch.optim:RMSprop": _rmsprop,
    "techniques.optimizers.nesterov:Nesterov": partial(_sgd, nesterov=True),
}
