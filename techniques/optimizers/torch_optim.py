"""Build an optimizer from its row: any `torch.optim` class, or a function of named parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch

from techniques.registry import CannotApply, Row, Technique


def build(
    technique: Technique[Row], named_parameters: Iterable[tuple[str, torch.nn.Parameter]]
) -> torch.optim.Optimizer:
    """Return the optimizer over `named_parameters`, with the technique's settings.

    A class of `torch.optim` takes the bare parameters; anything else is called as
    `build(named_parameters, **settings)`. Parameters that are not trained are left out. Raises CannotApply
    where a class of `torch.optim` refuses the settings or the parameters.
    """
    implementation: Any = technique.load()
    settings: dict[str, Any] = dict(technique.settings)
    trainable = [(name, parameter) for name, parameter in named_parameters if parameter.requires_grad]
    if not (inspect.isclass(implementation) and issubclass(implementation, torch.optim.Optimizer)):
        optimizer: torch.optim.Optimizer = implementation(trainable, **settings)
        return optimizer
    try:
        return implementation([parameter for _, parameter in trainable], **settings)
    except ValueError as error:  # unsupported settings or parameters, such as Muon's with one dimension
        raise CannotApply(f"{technique.text}: {error}") from error


def evaluates_by_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether an optimizer computes gradients itself, by a closure that its `step` requires (L-BFGS)."""
    parameter = inspect.signature(optimizer.step).parameters.get("closure")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def step(
    optimizer: torch.optim.Optimizer, closure: Callable[[], torch.Tensor], *, by_closure: bool = False
) -> None:
    """Take a step. `closure` clears gradients, computes them and the loss; it runs first, or `by_closure`.

    One that asks for a closure though its signature does not (sharpness-aware minimization, of which there
    are many implementations) is handed it with gradients computed. Raises CannotApply where gradients are of
    a layout that the optimizer does not take.
    """
    try:
        if by_closure:
            optimizer.step(cast(Any, closure))
            return
        closure()
        try:
            optimizer.step()
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            if "closure" not in str(error).lower():
                raise
            optimizer.step(cast(Any, closure))
    except RuntimeError as error:
        if re.search(r"does not support \w+ gradients", str(error)):
            raise CannotApply(str(error)) from error
        raise


def refuse(named_parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> torch.optim.Optimizer:
    """Raise CannotApply: a model that is served as given has no training data."""
    raise CannotApply("this workload serves a model as given: it has no training data")
