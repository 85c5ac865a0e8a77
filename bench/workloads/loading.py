"""A workload with its data, and batches of its test inputs."""

from __future__ import annotations

from dataclasses import replace

import torch

from bench.errors import StageError
from bench.workloads import WORKLOADS
from bench.workloads.checks import checked
from bench.workloads.splits import with_validation
from bench.workloads.workload import Data, Samples, Workload


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
    """Return a workload and its data; of validation and test data the first `test_samples` where given.

    Data that are trained with have validation data, of the training data if need be. Raises as
    `find_workload`, StageError for unusable data, and DataError where a data set is not here.
    """
    workload = find_workload(name)
    data = workload.data()
    if workload.quality is not None:
        data = with_validation(data)
    return workload, data if test_samples is None else _first(data, test_samples)


def _first(data: Data, count: int) -> Data:
    """Return data with the first samples of the validation and of the test data."""
    validation = data.validation
    return replace(
        data,
        test_inputs=data.test_inputs[:count],
        test_targets=data.test_targets[:count],
        validation=validation and Samples(validation.inputs[:count], validation.targets[:count]),
    )


def example_batch(workload: Workload, data: Data, batch_size: int, number: int = 0) -> torch.Tensor:
    """Return a batch (batch_size, ...) of real test inputs as the model takes them.

    Samples repeat where there are too few. `number` counts batches from 0.
    """
    numbers = (number * batch_size + torch.arange(batch_size)) % len(data.test_inputs)
    return workload.transform(data.test_inputs[numbers])
