"""A workload with its data, and batches of its test inputs."""

from __future__ import annotations

from dataclasses import replace

import torch

from bench.errors import StageError
from bench.workloads import WORKLOADS
from bench.workloads.checks import checked
from bench.workloads.workload import Data, Workload


def find_workload(text: str) -> Workload:
    """Return the workload of that name; a row with settings refers to a function of them.

    Raises TechniqueError for an unknown name or setting, StageError where the reference gives no workload.
    """
    technique = WORKLOADS.parse(text)
    found = technique.load()
    workload = found if isinstance(found, Workload) else found(**technique.row.arguments(technique.settings))
    if not isinstance(workload, Workload):
        raise StageError(
            f"workload {text!r}: {technique.row.implementation} must be a Workload or a function that "
            "returns one"
        )
    return checked(workload, technique.row.quality_metric)


def load_workload(name: str, test_samples: int | None = None) -> tuple[Workload, Data]:
    """Return a workload and its data, of the test set the first `test_samples` where that is given.

    Raises as `find_workload`, StageError for unusable data, and DataError where a data set is not here.
    """
    workload = find_workload(name)
    data = workload.data()
    if test_samples is not None:
        inputs, targets = data.test_inputs[:test_samples], data.test_targets[:test_samples]
        data = replace(data, test_inputs=inputs, test_targets=targets)
    return workload, data


def example_batch(workload: Workload, data: Data, batch_size: int, number: int = 0) -> torch.Tensor:
    """Return a batch (batch_size, ...) of real test inputs as the model takes them.

    Samples repeat where there are too few. `number` counts batches from 0.
    """
    numbers = (number * batch_size + torch.arange(batch_size)) % len(data.test_inputs)
    return workload.transform(data.test_inputs[numbers])
