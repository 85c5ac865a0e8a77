"""Measures the quality of a lowered model on corrupted test items, beside that on the same items clean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from bench.models.files import load_outputs
from bench.records import Measurement, Request
from bench.stages.evaluate import run_all
from bench.stages.inputs import load_backend, load_lowered, parent_folder
from bench.stages.settings import RobustnessSettings
from bench.stages.train import quality
from bench.workloads.loading import load_workload
from bench.workloads.workload import Data, Workload

CLEAN = "clean"
_METRIC = "corrupted_quality"


def run(request: Request[RobustnessSettings], folder: Path) -> list[Measurement]:
    """Measure the workload's first metric of quality under each corruption; say so of a workload without."""
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    if workload.corruptions is None:
        return [Measurement(_METRIC, None, reason="the workload names no corruptions of its inputs")]
    program = load_lowered(
        load_backend(settings), parent_folder(request, "lowered"), settings, request.threads
    )
    own = load_outputs(parent_folder(request, "model"))
    found = []
    for name, inputs in _variants(workload, data):
        some = _spaced(data, inputs, settings.items)
        outputs = run_all(program, workload, some, settings.batch_size, own)
        measured = quality(settings, some, outputs)[0]
        found.append(replace(measured, metric=_METRIC, qualifier=name, method=settings.quality_metric))
    return found


def _variants(workload: Workload, data: Data) -> Iterator[tuple[str, torch.Tensor]]:
    yield CLEAN, data.test_inputs
    if workload.corruptions is not None:
        yield from workload.corruptions(data)


def _spaced(data: Data, inputs: torch.Tensor, most: int) -> Data:
    """Return data whose test set has these inputs, at most so many, evenly spaced."""
    chosen = spaced(len(inputs), most)
    return replace(data, test_inputs=inputs[chosen], test_targets=data.test_targets[chosen])


def spaced(count: int, most: int) -> torch.Tensor:
    """Return the numbers of at most so many of `count` items, evenly spaced."""
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64).round().long()
