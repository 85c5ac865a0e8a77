"""Finds what the user names: a config.json, a registered workload, or a module by reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.errors import BenchError
from bench.plugins import first_line
from bench.projection.config import of_config
from bench.projection.subject import Batch, Subject, mean_output
from bench.workloads import WORKLOADS
from bench.workloads.loading import find_workload
from techniques.registry import TechniqueError, load_reference, nearest

_MAX_CAUSE = 200
_RAISED = (Exception, SystemExit, GeneratorExit)
"""Whatever a user's own code may raise, except Ctrl-C."""


def find_subject(target: str, sequence: int | None = None, input_shape: Sequence[int] = ()) -> Subject:
    """Return what is named: a config.json or its folder, a workload, `module:name` or `file.py:name`.

    `sequence` is for a configuration of a language model, `input_shape` (batch, ...) for a reference.
    Raises BenchError for a name that is none of these, with the nearest that is.
    """
    path = Path(target)
    is_config = path.suffix == ".json" or (path / "config.json").is_file()
    if sequence and not is_config:
        raise BenchError(f"--sequence is for a config.json; {target} has its own inputs")
    if target.partition(":")[0] in WORKLOADS.rows():
        return of_workload(target)
    if is_config:
        return of_config(path, sequence)
    if ":" in target:
        return of_reference(target, input_shape)
    raise BenchError(
        f"{target!r} must be a config.json, a workload or module:name{nearest(target, WORKLOADS.rows())}"
    )


def of_workload(name: str) -> Subject:
    """Return a registered workload: its model, its loss, and the shapes of its own training data."""
    try:
        workload = find_workload(name)
        data = workload.data()
    except (BenchError, TechniqueError):
        raise
    except _RAISED as error:
        raise BenchError(f"workload {name}: {first_line(error)[:_MAX_CAUSE]}") from error
    example = workload.transform(data.train_inputs[:1])
    target = data.train_targets[:1]

    def batch(samples: int) -> Batch:
        return _like(example, samples), _like(target, samples)

    def loss(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        assert targets is not None, "a workload has them"
        return workload.loss(model(inputs), targets)

    def no_loss(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        return mean_output(model(inputs))

    given = WORKLOADS.parse(name).row.inference_only
    return Subject(
        title=name,
        build=workload.model,
        batch=batch,
        forward=lambda model, inputs: model(inputs),
        loss=no_loss if given else loss,
        tokens=None if example.is_floating_point() or example.dim() < 2 else int(example.shape[1]),
        notes=("loss: the mean of the outputs",) if given else (),
    )


def of_reference(reference: str, input_shape: Sequence[int]) -> Subject:
    """Return a module, or what a function without arguments makes: one, or one with example inputs.

    The function is called on the meta device. Inputs of `input_shape` (batch, ...) are floats, or integers
    where the model takes no floats.
    """
    made, inputs = _made(reference)
    if inputs is None and not input_shape:
        raise BenchError(f"{reference}: the shape of its input is required, e.g. --input 1,3,224,224")
    shape = tuple(input_shape) or tuple(inputs.shape)  # type: ignore[union-attr]
    first = next(made.parameters(), torch.empty(0))
    integers = _embeds_first(made) if inputs is None else not inputs.is_floating_point()
    dtype = torch.long if integers else first.dtype if first.is_floating_point() else torch.float32

    def batch(samples: int) -> Batch:
        return torch.zeros(samples, *shape[1:], dtype=dtype), None

    return Subject(
        title=f"{reference}, input {('batch', *shape[1:])}".replace("'", ""),
        build=lambda: _made(reference)[0],
        batch=batch,
        forward=lambda model, inputs: model(inputs),
        loss=lambda model, inputs, targets: mean_output(model(inputs)),
        tokens=shape[1] if integers and len(shape) == 2 else None,
        notes=("loss: the mean of the outputs, as a module has none",),
    )


def _made(reference: str) -> tuple[nn.Module, torch.Tensor | None]:
    try:
        found = load_reference(reference)
        with torch.device("meta"):
            made: Any = found if isinstance(found, nn.Module) else found()
    except _RAISED as error:
        raise BenchError(f"{reference}: {first_line(error)[:_MAX_CAUSE]}") from None
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module) or not (inputs is None or isinstance(inputs, torch.Tensor)):
        raise BenchError(
            f"{reference} must be a torch.nn.Module, or return one, or (nn.Module, example inputs), when "
            "called without arguments"
        )
    return model, inputs


def _embeds_first(model: nn.Module) -> bool:
    """Say whether the first layer of a model looks numbers up in a table."""
    leaves = (module for module in model.modules() if not any(True for _ in module.children()))
    return isinstance(next(leaves, None), nn.Embedding | nn.EmbeddingBag)


def _like(example: torch.Tensor, samples: int) -> torch.Tensor:
    return torch.zeros(samples, *example.shape[1:], dtype=example.dtype)
