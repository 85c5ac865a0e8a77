"""Stages on two devices of the CPU: a user's workloads whose batches are shared, and their requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.records import Measurement, Request, as_json
from tests.support.stage_requests import request_of

WORKLOADS = """
import torch
from torch import nn
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.vision_models import VisionTransformer
from bench.workloads.workload import Data, Samples, Workload
from techniques.parallel import TensorPlan

def data(*shape):
    inputs = torch.randn(96, *shape, generator=torch.Generator().manual_seed(0))
    targets = (inputs.flatten(1).sum(1) > 0).long()
    held_out = Samples(inputs[64:], targets[64:])
    return Data(inputs[:64], targets[:64], inputs[64:], targets[64:], validation=held_out)

def workload(shape, model, loss=nn.functional.cross_entropy, plan=None):
    return Workload(
        lambda: data(*shape), lambda batch: batch, model, loss, accuracy_and_recall, tensor_plan=plan
    )

def mlp():
    return workload((8,), lambda: nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 2)))

def normalized():
    return workload((8,), lambda: nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Linear(32, 2)))

def padded():
    def loss(outputs, targets):  # one in three samples counts for nothing
        counted = targets.clone()
        counted[::3] = -100
        return nn.functional.cross_entropy(outputs, counted)
    return workload((8,), lambda: nn.Linear(8, 2), loss)

def comparing():
    def loss(outputs, targets):  # compares the samples of a batch
        return nn.functional.cross_entropy(outputs - outputs.mean(0), targets).sqrt()
    return workload((8,), lambda: nn.Linear(8, 2), loss)

def transformer():
    plan = TensorPlan(
        ("blocks.*.query", "blocks.*.key", "blocks.*.value", "blocks.*.feed_forward.0"),
        ("blocks.*.output", "blocks.*.feed_forward.2"),
        ("blocks.*.heads",),
    )
    model = lambda: VisionTransformer(size=8, patch=4, layers=2, heads=2, classes=2)
    return workload((3, 8, 8), model, plan=plan)

def hanging():
    import os, time
    def transform(batch):
        with open(PIDS, "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(600)
        return batch
    found = mlp()
    return Workload(found.data, transform, found.model, found.loss, found.quality)

def losing():
    import os, signal
    calls = []
    def transform(batch):
        calls.append(batch)
        if os.environ.get("RANK") == "1" and len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch
    found = mlp()
    return Workload(found.data, transform, found.model, found.loss, found.quality)
"""

_SETTINGS: dict[str, Any] = {
    **{"quality_metric": "accuracy", "target": 2.0, "test_samples": None, "optimizer": "adam:lr=0.01"},
    **{"precision": "fp32", "steps": 12, "evaluations_per_epoch": 2, "seed": 0, "sample_s": 0.02},
    **{"backend": "cpu-eager", "batch_size": 16},
}


def several(
    folder: Path, workload: str, parallel: str = "ddp", kind: str = "train", devices: int = 2, **fields: Any
) -> Request[Any]:
    """Return the request of a stage on several devices, its settings as JSON, as the runner sends it."""
    place = folder / "mine.py"
    place.write_text(WORKLOADS.replace("PIDS", repr(str(folder / "pids"))))
    own = {"workload": f"own:{place}:{workload}", "devices": devices, "parallel": parallel}
    fields = {"cpus": (0, 1), "threads": 2, "all_passes": True} | fields
    request = request_of(kind, folder, _SETTINGS | own, **fields)
    return replace(request, settings=as_json(request.settings, whole=True))


def by_metric(measurements: tuple[Measurement, ...]) -> dict[str, Measurement]:
    """Return measurements by their metric, those under qualifiers left out."""
    return {entry.metric: entry for entry in measurements if not entry.qualifier}
