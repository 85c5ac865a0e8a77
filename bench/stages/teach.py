"""Writes a model's outputs on the training set to disk, once for all of its students."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.models.files import load_model, save_outputs
from bench.models.predictions import Predictions
from bench.models.training import batch_at, predict
from bench.records import Measurement, Request
from bench.stages.inputs import parent_folder
from bench.stages.settings import WorkloadSettings
from bench.workloads.loading import load_workload

KEPT_BYTES = 2**30
"""Larger outputs are not kept: they would fill memory and disk, so each student asks its teacher anew."""


def run(request: Request[WorkloadSettings], folder: Path) -> list[Measurement]:
    """Write the model's outputs on every training sample, in the order of the data set.

    Where all of them are larger than `KEPT_BYTES`, outputs of no sample are written.
    """
    workload, data = load_workload(request.settings.workload, request.settings.test_samples)
    model = load_model(parent_folder(request, "model"), request.settings.workload)
    device = torch.device("cpu")
    first = predict(model, workload, batch_at(workload, data.train_inputs), device)
    kept = _bytes_of_a_sample(first) * len(data.train_inputs) <= KEPT_BYTES
    save_outputs(folder, predict(model, workload, data.train_inputs, device) if kept else first.first(0))
    return []


def _bytes_of_a_sample(outputs: Predictions) -> float:
    return sum(tensor.nbytes / max(1, len(tensor)) for tensor in outputs.tensors.values())
