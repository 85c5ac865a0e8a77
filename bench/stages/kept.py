"""The layers of a lowered model that its format leaves in full precision."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from bench.errors import StageError
from bench.files import read_json
from bench.instruments.copies import copy_of
from bench.records import Measurement
from techniques.compression.sensitivity import most_sensitive
from techniques.layers import covers, layers_of, modules_named
from techniques.parametrizations import make_plain
from techniques.registry import CannotApply, Technique

KEPT = "kept_layers.json"


def layers_to_keep(
    model: torch.nn.Module,
    format_: Technique[Any] | None,
    calibration: Callable[[], Iterable[torch.Tensor]],
) -> tuple[str, ...]:
    """Return the names of the modules that stay in full precision: those of `keep`, and those of `mixed`.

    Raises CannotApply as `modules_named` and `most_sensitive` do, and for a model that is an ONNX file, whose
    layers have no names of PyTorch.
    """
    settings = format_.settings if format_ is not None else {}
    named, bound = str(settings.get("keep", "")), float(settings.get("mixed", 0.0))
    if format_ is None or not (named or bound):
        return ()
    if hasattr(model, "onnx_file"):
        raise CannotApply("keep and mixed go by the names of layers in PyTorch, which an ONNX file lacks")
    kept = modules_named(model, named)
    if not bound:
        return kept
    found = most_sensitive(make_plain(copy_of(model)), list(calibration()), format_.name, bound, kept)
    return (*kept, *found)


def kept_measurements(
    model: torch.nn.Module, kept: tuple[str, ...], format_: Technique[Any] | None
) -> list[Measurement]:
    """Measure how many layers stay in full precision, and name them; nothing where none was asked for."""
    if format_ is None or not (format_.settings.get("keep") or format_.settings.get("mixed")):
        return []
    layers = layers_of(model)
    left = [name for name in layers if covers(kept, name)]
    return [Measurement("kept_layers", len(left), n=len(layers), method=", ".join(left))]


def save_kept(folder: Path, kept: tuple[str, ...]) -> None:
    """Write the names of kept modules into an artifact's folder; nothing where there are none."""
    if kept:
        (folder / KEPT).write_text(json.dumps(kept))


def read_kept(folder: Path) -> tuple[str, ...]:
    """Return what `save_kept` wrote; raises StageError where it is damaged."""
    if not (folder / KEPT).exists():
        return ()
    content = read_json(folder / KEPT)
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise StageError(f"{folder.name[:12]}: its {KEPT} is damaged: it must be a list of names")
    return tuple(content)
