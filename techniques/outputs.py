"""Outputs of models, one tensor or several by name, and the precision in which they are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

_ALONE = ""


def parts(outputs: Any) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Return the tensors in a model's outputs, in order, and the names of outputs that are not tensors.

    A tensor alone has the name ''; others those of their keys, fields or positions, joined by dots. None
    stands for nothing, and is not named.
    """
    tensors: dict[str, torch.Tensor] = {}
    others = []
    for name, value in _walk(_ALONE, outputs):
        if isinstance(value, torch.Tensor):
            tensors[name] = value
        elif value is not None:
            others.append(name or type(value).__name__)
    return tensors, tuple(others)


def _walk(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    entries: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping):
        entries = iter(value.items())
    elif is_dataclass(value) and not isinstance(value, type):
        entries = ((entry.name, getattr(value, entry.name)) for entry in fields(value))
    elif isinstance(value, tuple | list):
        names = getattr(value, "_fields", range(len(value)))
        entries = zip(names, value, strict=True)
    if entries is None:
        yield name, value
        return
    for key, entry in entries:
        yield from _walk(f"{name}.{key}" if name else str(key), entry)


class Flattened(torch.nn.Module):
    """A model that returns the tensors of another's outputs as a tuple, as graphs give them."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the tensors of the outputs in their order."""
        return tuple(parts(self.model(batch))[0].values())


def as_graph(model: torch.nn.Module, example: torch.Tensor) -> torch.nn.Module:
    """Return a model that can be traced: its outputs are one tensor or a tuple of tensors. Calls it once."""
    with torch.no_grad():
        outputs = model(example.clone())
    return model if isinstance(outputs, torch.Tensor) else Flattened(model).train(model.training)


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """Return numbers of fewer than 32 bits in fp32; all others, whole and complex ones, as they are."""
    if tensor.dtype == torch.complex32:
        return tensor.to(torch.complex64)
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor


def compared(outputs: Any) -> tuple[torch.Tensor, ...]:
    """Return the tensors of outputs as they are compared: on the CPU, none of fewer than 32 bits."""
    return tuple(widened(tensor).cpu() for tensor in parts(outputs)[0].values())


def as_numbers(value: Any) -> Any:
    """Return an array of NumPy as a tensor; of texts, lists and maps, as ONNX knows them, only their type."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return torch.as_tensor(value)
    return type(value).__name__
