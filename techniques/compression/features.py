"""Distillation by features: a student's middle layer learns to tell its teacher's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from techniques.compression.context import Context
from techniques.compression.distillation import soft_loss
from techniques.compression.pruning import PRUNED_LAYERS
from techniques.compression.runs import run
from techniques.registry import CannotApply

_HINT = "hint_of_the_teacher"


class Tap:
    """Keeps what a layer gave last: (batch, channels, ...) of a convolution, (batch, ..., channels) else."""

    def __init__(self, layer: nn.Module) -> None:
        self.features = torch.empty(0)
        self._handle = layer.register_forward_hook(self._keep)

    def _keep(self, layer: nn.Module, _: Any, outputs: torch.Tensor) -> None:
        self.features = outputs if isinstance(layer, nn.Linear) else outputs.movedim(1, -1)

    def close(self) -> None:
        """Keep no more."""
        self._handle.remove()


def distill_features(
    model: nn.Module, context: Context, *, width: float, temperature: float, alpha: float, beta: float
) -> nn.Module:
    """Return a student of `width` times the channels, taught by outputs and middle features of `model`.

    To the loss of `distill` comes `beta` × the `relative_error` of the teacher's features, as a linear layer
    tells them from the student's. That layer is trained along and then dropped. The paper trains by features
    first and by outputs then; here both go together. Raises CannotApply where the workload has no student, or
    the two have no middle layer of one name. Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets"
    (arXiv:1412.6550).
    """
    taught = context.student(width)
    name = middle_layer(taught, context.example)
    if name not in dict(model.named_modules()):
        raise CannotApply(f"distill-features: the teacher has no layer {name!r}, the student's middle one")
    teacher = model.eval().requires_grad_(False)
    own, its = Tap(taught.get_submodule(name)), Tap(teacher.get_submodule(name))
    run(teacher, context.example)
    run(taught, context.example)
    if own.features.shape[1:-1] != its.features.shape[1:-1]:
        raise CannotApply(f"distill-features: {name!r} has other places in the teacher than in the student")
    torch.manual_seed(context.seed)
    hint = nn.Linear(own.features.shape[-1], its.features.shape[-1])
    # Parameters, not a module: a sequence would run it.
    for part, parameter in hint.named_parameters():
        taught.register_parameter(f"{_HINT}_{part}", parameter)
    asked = taught.register_forward_pre_hook(_asks(teacher))

    def loss(outputs: torch.Tensor, answers: torch.Tensor, own_loss: torch.Tensor) -> torch.Tensor:
        response = alpha * soft_loss(outputs, answers, temperature) + (1 - alpha) * own_loss
        return response + beta * relative_error(hint(own.features), its.features)

    try:
        context.teach(taught, loss)
    finally:
        for part, _ in hint.named_parameters():
            delattr(taught, f"{_HINT}_{part}")
        for each in (own, its):
            each.close()
        asked.remove()
    return taught


def relative_error(features: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of features over the mean square of the teacher's: 1 if all are 0."""
    return (features - teacher).square().mean() / teacher.square().mean().clamp_min(1e-12)


def middle_layer(model: nn.Module, example: torch.Tensor) -> str:
    """Return the name of the linear or convolution layer that runs as the middle one of all but the last.

    Raises CannotApply for a model with fewer than two.
    """
    ran: list[str] = []
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, PRUNED_LAYERS)}
    handles = [layer.register_forward_hook(_noting(ran, name)) for name, layer in layers.items()]
    try:
        run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    if len(ran) < 2:
        raise CannotApply("distill-features: the model has no layer before its last")
    return ran[(len(ran) - 1) // 2]


def _noting(ran: list[str], name: str) -> Callable[..., None]:
    return lambda *_: ran.append(name)


def _asks(teacher: nn.Module) -> Callable[..., None]:
    """Return a hook that shows the teacher what its student is about to see."""

    def ask(student: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if student.training:
            with torch.no_grad():
                teacher.to(inputs[0].device)(inputs[0])

    return ask
