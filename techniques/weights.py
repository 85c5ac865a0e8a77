"""A model's state on disk without pickle: tensors that it shares are there once, as in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

_SHARED = "shared"
_EXTRA = "extra_state"


class UnknownState(ValueError):
    """State of a model that is neither a tensor nor JSON, so that only pickle would keep it."""


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a state by name: tensors, and what `get_extra_state` of modules returned where that is JSON.

    Tensors that are one and the same (tied weights) are written once; the others' names refer to it. Raises
    UnknownState for anything else.
    """
    tensors: dict[str, torch.Tensor] = {}
    first: dict[tuple[Any, ...], str] = {}
    shared: dict[str, str] = {}
    extra: dict[str, Any] = {}
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            extra[name] = _json(name, value)
            continue
        same = first.setdefault(_place(name, value), name)
        if same == name:
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        else:
            shared[name] = same
    notes = {_SHARED: shared, _EXTRA: extra}
    metadata = {key: json.dumps(entries, sort_keys=True) for key, entries in notes.items() if entries}
    save_file(tensors, path, metadata or None)


def load_state(path: Path) -> dict[str, Any]:
    """Return what `save_state` wrote, each name with its own entry; raises ValueError where it is damaged."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    tensors: dict[str, Any] = load_file(path)
    shared, extra = (json.loads(metadata.get(key, "{}")) for key in (_SHARED, _EXTRA))
    if (
        not isinstance(shared, dict)
        or not isinstance(extra, dict)
        or not tensors.keys() >= set(shared.values())
    ):
        raise ValueError("its metadata are not those of a model's state")
    return {**tensors, **{name: tensors[same] for name, same in shared.items()}, **extra}


def _place(name: str, tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return what only one and the same tensor has twice; an empty one has no place of its own."""
    if not tensor.numel():
        return (name,)
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)


def _json(name: str, value: Any) -> Any:
    try:
        kept = json.loads(json.dumps(value))
    except (TypeError, ValueError):
        kept = None
    if kept != value:
        kind = type(value).__name__
        raise UnknownState(f"{name}: a {kind} that is not JSON cannot be kept without pickle")
    return kept
