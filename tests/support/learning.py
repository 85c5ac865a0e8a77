"""Whether a model learns at all: its losses over a few steps on the same few samples."""

from __future__ import annotations

import torch

from bench.workloads.workload import Workload
from techniques.backends.training import TorchTrainingStep


def losses_of(
    workload: Workload,
    model: torch.nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    steps: int,
    rate: float = 1e-3,
) -> list[float]:
    """Train a model by Adam on these kept inputs; return the loss of each step."""
    learn = TorchTrainingStep(model, workload.loss, torch.optim.AdamW(model.parameters(), lr=rate))
    model.train()
    return [learn(workload.transform(inputs), targets).item() for _ in range(steps)]
