"""Keras's optimizers, set as PyTorch's are.

Where their definitions differ:

- Adam and AdamW add epsilon to the root of the mean square before its bias is corrected (ε̂ of Kingma & Ba
  2015), PyTorch after it: PyTorch's is as large as eps / √(1 - β₂^t) here, 32 times eps in the first step.
- RMSprop adds epsilon within the root. Its square is set, so that where the mean square is 0, or far above
  epsilon, the root is PyTorch's.
- Keras decays weights apart from the gradient. That is PyTorch's decay in AdamW, and in SGD without momentum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from techniques.backends.frameworks.rules import rule_of
from techniques.optimizers import OptimizerRow
from techniques.registry import CannotApply, Technique


def keras_optimizer(optimizer: Technique[OptimizerRow]) -> Any:
    """Return Keras's optimizer for PyTorch's; raises CannotApply where Keras has none with these settings."""
    return rule_of(optimizer, _RULES, "keras.optimizers", "Keras")


def _sgd(lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Any:
    if momentum:
        _refuse_decay(weight_decay, "SGD with momentum")
    return keras.optimizers.SGD(lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay or None)


def _adam(lr: float, eps: float = 1e-8, weight_decay: float = 0.0) -> Any:
    _refuse_decay(weight_decay, "Adam")
    return keras.optimizers.Adam(lr, epsilon=eps)


def _adamw(lr: float, eps: float = 1e-8, weight_decay: float = 1e-2) -> Any:
    return keras.optimizers.AdamW(lr, weight_decay=weight_decay, epsilon=eps)


def _rmsprop(
    lr: float, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, weight_decay: float = 0.0
) -> Any:
    _refuse_decay(weight_decay, "RMSprop")
    return keras.optimizers.RMSprop(lr, rho=alpha, momentum=momentum, epsilon=eps**2)


def _refuse_decay(weight_decay: float, what: str) -> None:
    if weight_decay:
        raise CannotApply(
            f"weight_decay={weight_decay:g}: Keras's {what} decays weights apart from the gradient, "
            "PyTorch's by the gradient"
        )


_RULES: dict[str, Callable[..., Any]] = {
    "torch.optim:SGD": _sgd,
    "torch.optim:Adam": _adam,
    "torch.optim:AdamW": _adamw,
    "torch.optim:RMSprop": _rmsprop,
    "techniques.optimizers.nesterov:Nesterov": partial(_sgd, nesterov=True),
}
