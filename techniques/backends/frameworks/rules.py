"""Optimizers of another framework that update weights as PyTorch's do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from techniques.optimizers import OptimizerRow
from techniques.optimizers.torch_optim import AUTO
from techniques.registry import CannotApply, Technique


def rule_of(
    optimizer: Technique[OptimizerRow], rules: Mapping[str, Callable[..., Any]], library: str, where: str
) -> Any:
    """Return what a library has for an optimizer, by the rule of its implementation.

    Raises CannotApply where the optimizer, or one of its settings, is not mapped to the library, which trains
    `where`.
    """
    implementation = optimizer.row.implementation
    if implementation not in rules:
        raise CannotApply(
            f"{optimizer.name} has no rule in {where}: {implementation} is not mapped to {library}"
        )
    settings = dict(optimizer.settings)
    if settings.pop("variant", AUTO) != AUTO:
        raise CannotApply(
            f"{optimizer.text} has no rule in {where}: variant is how PyTorch goes over tensors"
        )
    try:
        return rules[implementation](**settings)
    except TypeError as error:
        raise CannotApply(f"{optimizer.name} has no rule in {where}: {error}") from None
