"""Writes a model's outputs on the training set to disk, once for all of its students."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.models.files import load_model, save_outputs
from bench.models.training import predict
from bench.records import Measurement, Request
from bench.stages.inputs import parent_folder
from bench.stages.settings import WorkloadSettings
from bench.workloads.loading import load_workload


def run(request: Request[WorkloadSettings], folder: Path) -> list[Measurement]:
    """Write the model's outputs on every training sample, in the order of the data set."""
    workload, data = load_workload(request.settings.workload, request.settings.test_samples)
    model = load_model(parent_folder(request, "model"), request.settings.workload)
    save_outputs(folder, predict(model, workload, data.train_inputs, torch.device("cpu")))
    return []
