"""A workload with its data, and batches of its test inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from bench.workloads.workload import Data, Workload, find_workload


def load_workload(settings: Mapping[str, Any]) -> tuple[Workload, Data]:
    """Return the workload and its data, the test set cut to the request's `test_samples` where it has any."""
    workload = find_workload(settings["workload"])
    data = workload.data()
    most = settings["test_samples"]
    if most is not None:
        data = replace(data, test_inputs=data.test_inputs[:most], test_targets=data.test_targets[:most])
    return workload, data


def example_batch(workload: Workload, data: Data, batch_size: int, number: int = 0) -> torch.Tensor:
    """Return a batch of real test inputs as the model takes them; samples repeat where there are too few."""
    numbers = (number * batch_size + torch.arange(batch_size)) % len(data.test_inputs)
    return workload.transform(data.test_inputs[numbers])
