"""What a model's time depends on, except for the values of its dense weights: observed, not declared.

Two models of one digest have the same modules, weights of the same shapes, operators of the same shapes on
the same inputs, and files of the same graph: dense kernels take as long for either. Values count where
kernels depend on them: the pattern of sparse weights, and subnormal numbers, which are slow on a CPU.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.instruments.structure_of_files import describe_files

_MAX_SUBNORMAL = 0.01
"""Share of a tensor's numbers up to which subnormal ones cost little."""


@dataclass(frozen=True)
class ObservedStructure:
    """Digests of a model's structure, 64 hexadecimal digits each, and how many parts went into it.

    `any_batch` leaves the calls out, whose shapes depend on the size of the batches.
    """

    digest: str
    any_batch: str
    parts: int


def observe(
    model: torch.nn.Module, batches: Iterable[torch.Tensor], folder: Path | None = None
) -> ObservedStructure:
    """Observe a model as it runs on copies of batches, and a runtime's files in `folder`.

    Raises whatever the model raises.
    """
    files = describe_files(folder) if folder is not None else ()
    still = [json.dumps(part) for part in chain(describe_modules(model), files)]
    calls = [json.dumps(part) for part in describe_calls(model, batches)]
    return ObservedStructure(_digest(still + calls), _digest(still), len(still) + len(calls))


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def describe_modules(model: torch.nn.Module) -> Iterator[list[Any]]:
    """Yield each module's name and type, and its own weights and buffers."""
    for name, module in model.named_modules():
        kind = type(module)
        yield ["module", name, f"{kind.__module__}.{kind.__qualname__}", getattr(module, "original_name", "")]
        for own, tensor in chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False)):
            yield ["tensor", own, *_describe_weight(tensor.detach())]


@torch.no_grad()
def describe_calls(model: torch.nn.Module, batches: Iterable[torch.Tensor]) -> Iterator[list[Any]]:
    """Yield each operator that the model calls on the batches, with the shapes and settings it is given.

    Raises whatever the model raises.
    """
    for batch in batches:
        with _Operators() as operators:
            model(batch.clone())
        yield ["call", *_describe(batch)]
        yield from operators.called


class _Operators(TorchDispatchMode):
    """Notes the operators that run inside it."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.called: list[list[Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.called.append([func.name(), _argument(args), _argument(kwargs)])
        return func(*args, **kwargs)


def _argument(value: object) -> Any:
    """Describe an argument as JSON: tensors by their shapes, numbers by what a kernel may depend on."""
    if isinstance(value, torch.Tensor):
        return _describe(value)
    if isinstance(value, float):
        # Exponents and the like choose a kernel; what a model has learned is any number.
        return value if (2 * value).is_integer() else "float"
    if isinstance(value, dict):
        return {str(key): _argument(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_argument(entry) for entry in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, torch.dtype | torch.layout | torch.device | torch.memory_format):
        return str(value)
    return type(value).__name__


def _describe(tensor: torch.Tensor) -> list[Any]:
    described = [type(tensor).__name__, str(tensor.dtype), str(tensor.layout)]
    if tensor.is_nested:
        return [*described, tensor.dim()]
    strides: Sequence[int] = tensor.stride() if tensor.layout == torch.strided else ()
    return [*described, list(tensor.shape), list(strides)]


def _describe_weight(tensor: torch.Tensor) -> list[Any]:
    described = _describe(tensor)
    if tensor.layout != torch.strided and not tensor.is_mkldnn:
        return [*described, _pattern(tensor)]
    return [*described, _has_subnormal(tensor)]


def _pattern(tensor: torch.Tensor) -> str:
    """Return a hash of where a sparse tensor has its numbers."""
    if tensor.layout == torch.sparse_coo:
        indices: tuple[torch.Tensor, ...] = (tensor.coalesce().indices(),)
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        indices = (tensor.crow_indices(), tensor.col_indices())
    else:
        indices = (tensor.ccol_indices(), tensor.row_indices())
    digest = hashlib.sha256()
    for index in indices:
        digest.update(index.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _has_subnormal(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.is_nested or tensor.is_mkldnn or tensor.numel() == 0:
        return False
    size = tensor.abs()
    subnormal = (size > 0) & (size < torch.finfo(tensor.dtype).tiny)
    return bool(subnormal.float().mean() > _MAX_SUBNORMAL)
