"""Build an optimizer from its row: any `torch.optim` class, or a function of named parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch

from techniques.registry import CannotApply, Row, Technique


def build(
    technique: Technique[Row], named_parameters: Iterable[tuple[str, torch.nn.Parameter]]
) -> torch.optim.Optimizer:
    """Return the optimizer over `named_parameters`, with the technique's settings.

    A class of `torch.optim` takes the bare parameters; anything else is called as
    `build(named_parameters, **settings)`.
    """
    implementation: Any = technique.load()
    settings: dict[str, Any] = dict(technique.settings)
    trainable = [(name, parameter) for name, parameter in named_parameters if parameter.requires_grad]
    if inspect.isclass(implementation) and issubclass(implementation, torch.optim.Optimizer):
        return implementation([parameter for _, parameter in trainable], **settings)
    optimizer: torch.optim.Optimizer = implementation(trainable, **settings)
    return optimizer


def refuse(named_parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> torch.optim.Optimizer:
    """Raise CannotApply: what stands for the optimizer of a model that is served as it is."""
    raise CannotApply("this workload is a model as it is: there is nothing to train on")
