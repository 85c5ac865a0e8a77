"""Of a training set smaller than a batch, only the samples that exist are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.instruments.clock import Samples, Warmup
from bench.records import Measurement, Request
from bench.stages import step, train
from bench.stages.timing import TimedPass
from tests.support.stage_requests import request_of

SAMPLES = 20
OWN = """
import torch
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Samples, Workload

def data():
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    held = Samples(x[20:], y[20:])
    return Data(x[:20], y[:20], x[20:], y[20:], validation=held, notes=("1 row left out", "2 files left out"))

def make_workload():
    loss = torch.nn.functional.cross_entropy
    return Workload(data, lambda x: x, lambda: torch.nn.Linear(8, 2), loss, accuracy_and_recall)
"""
SETTINGS = {
    "quality_metric": "accuracy",
    "target": 0.6,
    "test_samples": None,
    "optimizer": "sgd",
    "precision": "fp32",
    "steps": 9,
    "evaluations_per_epoch": 1,
    "seed": 0,
    "sample_s": 0.01,
}


def request(folder: Path, kind: str, **settings: object) -> Request:
    (folder / "mine.py").write_text(OWN)
    workload = f"own:{folder / 'mine.py'}:make_workload"
    asked = SETTINGS | {"workload": workload, "backend": "cpu-eager", "batch_size": 32} | settings
    return request_of(kind, folder, asked, round=1)


def by_metric(measurements: list[Measurement]) -> dict[str, Measurement]:
    return {entry.metric: entry for entry in measurements}


def test_training_counts_the_samples_that_there_are(tmp_path: Path) -> None:
    found = by_metric(train.run(request(tmp_path, "train"), tmp_path))
    held = found["effective_batch_size"]
    assert held.value == SAMPLES
    assert held.method == "batches of 32 were requested; the training set has fewer samples"
    assert found["training_samples"].value == found["test_samples"].value == SAMPLES
    assert found["training_samples"].method == "1 row left out; 2 files left out"
    assert found["samples_to_target"].value == pytest.approx(SAMPLES * found["steps_to_target"].value)
    rate = found["train_throughput"].value * found["training_s"].value
    assert rate == pytest.approx(SAMPLES * found["steps_trained"].value)


def test_a_timed_step_counts_the_samples_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ten_calls_in_two_seconds(call: Callable[[], object], *_: object) -> TimedPass:
        for _number in range(11):
            call()
        return TimedPass(Warmup(1, True, 0.2, 0.2, 0.2), Samples((0.2,) * 10, 2.0), None, 1e-7)

    monkeypatch.setattr(step, "timed_pass", ten_calls_in_two_seconds)
    found = by_metric(step.run(request(tmp_path, "step"), tmp_path))
    assert found["effective_batch_size"].value == SAMPLES
    assert found["passes_per_step"].value == 1
    assert found["step_throughput"].value == 10 * SAMPLES / 2.0


def test_batches_in_parts_say_how_the_parts_add_up(tmp_path: Path) -> None:
    asked = request(tmp_path, "train", backend="cpu-eager:accumulate=4", batch_size=8)
    held = by_metric(train.run(asked, tmp_path))["effective_batch_size"]
    assert (held.value, held.method) == (8, "4 parts, whose loss is a mean")
