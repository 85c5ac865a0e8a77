"""Trial runs of a model whose structure a step changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from techniques.compression.context import Context
from techniques.outputs import parts
from techniques.registry import CannotApply


@contextmanager
def checked_shape(model: torch.nn.Module, context: Context, step: str) -> Iterator[None]:
    """Raise CannotApply where the model fails after what is done inside, or gives outputs of other shapes."""
    before = shapes(model, context.example)
    yield
    try:
        after = shapes(model, context.example)
    except Exception as error:
        raise CannotApply(f"{step}: the pruned model fails: {line(error)}") from error
    if after != before:
        changed = next((old, after.get(name)) for name, old in before.items() if after.get(name) != old)
        raise CannotApply(f"{step}: the output shape changes from {changed[0]} to {changed[1]}")


@torch.no_grad()
def run(model: torch.nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the tensors of the model's outputs for a batch by name, in evaluation mode."""
    return parts(model.eval()(batch))[0]


def shapes(model: torch.nn.Module, batch: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the model's outputs by name."""
    return {name: tuple(tensor.shape) for name, tensor in run(model, batch).items()}


def line(error: Exception) -> str:
    """Return an error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def see_inputs(
    model: torch.nn.Module,
    batches: Iterable[torch.Tensor],
    layers: Iterable[torch.nn.Module],
    note: Callable[[Any, tuple[torch.Tensor, ...]], None],
) -> None:
    """Run a model on batches, and let `note` see what each of these layers is given at each call."""
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        for batch in batches:
            model.eval()(batch)
    finally:
        for handle in handles:
            handle.remove()
