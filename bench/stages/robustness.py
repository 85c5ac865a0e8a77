"""Measures the quality of a lowered model on corrupted test items, beside that on the same items clean.

What each item got is kept, so that reports can compare two models by it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from bench.analysis.corruptions import CLEAN
from bench.models.fidelity import Qualities, quality_by_item
from bench.models.files import load_outputs
from bench.records import Measurement, Request
from bench.stages.evaluate import run_all
from bench.stages.inputs import load_backend, load_lowered, parent_folder
from bench.stages.settings import RobustnessSettings
from bench.stages.train import quality
from bench.workloads.loading import load_workload
from bench.workloads.workload import Data, Workload

_METRIC, _OF_ITEMS = "corrupted_quality", "item_corrupted"


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
        started = time.perf_counter()
        measured = quality(settings, some, outputs)
        qualities = Qualities(settings.quality_metric, measured, time.perf_counter() - started)
        found.append(replace(measured[0], metric=_METRIC, qualifier=name, method=settings.quality_metric))
        kept = quality_by_item(outputs, some, workload, qualities)
        if kept is not None:
            found.append(replace(kept, metric=_OF_ITEMS, qualifier=name, method=kept.metric))
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
