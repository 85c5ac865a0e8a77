"""Changes of real models, each of its own kind, are found by a check of two real runs, and named."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow

MATRIX = """
[train]
workload = ["own.py:memory", "own.py:layers", "own.py:steps,target=0.8", "own.py:accuracy"]
optimizer = "sgd:lr=0.003"
[infer]
compression = "none"
backend = "cpu-eager"
batch_size = 16
[budget]
train_steps = 400
max_launches = 1
sample_s = 0.01
"""

OWN = """
import torch
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Samples, Workload
from changes import EXTRA_MIB, LAYERS, WRONG_TARGETS, RATE

def data(wrong_targets, noise):
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(1000) % 4
    inputs = torch.nn.functional.one_hot(targets, 64) * 3.0
    inputs += torch.randn(1000, 64, generator=generator) * noise
    test_targets = targets[800:].clone()
    test_targets[:wrong_targets] = (test_targets[:wrong_targets] + 1) % 4
    held = Samples(inputs[600:800], targets[600:800])
    return Data(inputs[:600], targets[:600], inputs[800:], test_targets, validation=held)

class Net(torch.nn.Module):
    def __init__(self, layers=1, extra_mib=0, scale=1.0):
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(layers)))
        self.last, self.extra_mib, self.scale = torch.nn.Linear(64, 4), extra_mib, scale

    def forward(self, batch):
        if self.extra_mib:
            extra = torch.zeros(self.extra_mib * 2**18)
            batch = batch + extra[0]
        return self.last(self.layers(batch)) * self.scale

def workload(model, wrong_targets=0, noise=0.1):
    torch.manual_seed(0)
    return Workload(lambda: data(wrong_targets, noise), lambda x: x, model, torch.nn.functional.cross_entropy,
                    accuracy_and_recall)

def memory(): return workload(lambda: Net(extra_mib=EXTRA_MIB))
def layers(): return workload(lambda: Net(layers=LAYERS))
def steps(): return workload(lambda: Net(scale=RATE), noise=1.0)
def accuracy(): return workload(Net, wrong_targets=WRONG_TARGETS)
"""

BEFORE = "EXTRA_MIB, LAYERS, RATE, WRONG_TARGETS = 16, 1, 1.0, 0\n"
AFTER = "EXTRA_MIB, LAYERS, RATE, WRONG_TARGETS = 24, 2, 0.92, 1\n"


@pytest.fixture(scope="module")
def found(bench, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict]:
    """The regressions that a check of the changed models finds, by workload and metric."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "own.py").write_text(OWN)
        (folder / "mine.toml").write_text(MATRIX)
        for text in (BEFORE, AFTER):
            (folder / "changes.py").write_text(text)
            done = bench("run", "--matrix", "mine.toml", "--results", "results")
            assert done.returncode == 0, done.stdout + done.stderr
            if text == BEFORE:
                assert bench("baseline", "save", "before", "--results", "results").returncode == 0
        words = ("check", "--baseline", "before", "--results", "results", "--json", "found.json")
        done = bench(*words)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "REGRESSION" in done.stdout
        findings = json.loads((folder / "found.json").read_text())["findings"]
    return {
        (name, finding["metric"]): finding
        for finding in findings
        if finding["verdict"] == "regression"
        for name in ("memory", "layers", "steps", "accuracy")
        if f"own.py:{name}" in finding["stage"] and finding["stage"].startswith(STAGE[name])
    }


STAGE = {"memory": "infer", "layers": "lower", "steps": "train", "accuracy": "evaluate"}
"""The kind of stage that measures what each of them changes."""


def test_8_mib_more_of_peak_memory_are_found_and_named(found):
    (metric,) = (metric for name, metric in found if name == "memory")
    finding = found["memory", metric]
    assert metric == "peak_tensor_bytes" and finding["after"] - finding["before"] == 8 * 2**20


def test_one_more_layer_is_found_and_named_by_its_flops_and_parameters(found):
    flops = found["layers", "dense_flops"]
    assert flops["after"] - flops["before"] == 2 * 16 * 64 * 64
    parameters = found["layers", "parameters"]
    assert parameters["after"] - parameters["before"] == 64 * 64 + 64


def test_5_percent_more_steps_to_the_target_are_found_and_named(found):
    finding = found["steps", "steps_to_target"]
    assert 1.02 < finding["after"] / finding["before"] < 1.15


def test_half_a_point_of_accuracy_is_found_and_named(found):
    finding = found["accuracy", "accuracy"]
    assert finding["before"] - finding["after"] == pytest.approx(0.005)
