"""Optax's transformations that update weights as PyTorch's optimizers do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import optax

from techniques.backends.frameworks.rules import rule_of
from techniques.optimizers import OptimizerRow
from techniques.regime import CLIPS, Regime
from techniques.registry import CannotApply, Technique


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
    rule: optax.GradientTransformation = rule_of(optimizer, _RULES, "optax", "XLA")
    return rule


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
