"""A framework trains a model as PyTorch does. `BENCH_TEST_BACKEND` names the backend: a process has one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from bench.workloads.image_classification import SimpleCNN, squared_error
from bench.workloads.recommendation import Factors
from bench.workloads.stained_tissue import PatchCNN
from bench.workloads.tabular import Perceptron
from bench.workloads.vision_models import ResidualBlock, VisionTransformer
from techniques.backends import BACKENDS
from techniques.backends.training import KeepsState, TorchTrainingStep, TrainingStep
from techniques.optimizers import OPTIMIZERS
from techniques.optimizers.torch_optim import build
from techniques.regime import AVERAGES, CLIPS, SCHEDULES, Regime
from techniques.registry import CannotApply

NAME = os.environ.get("BENCH_TEST_BACKEND", "")
if not NAME or BACKENDS.get(NAME).unavailable():
    pytest.skip(f"no backend {NAME!r} here", allow_module_level=True)

BATCH = 16
cross_entropy = nn.functional.cross_entropy


def residual() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(stem, ResidualBlock(8, 12, stride=2), nn.Flatten(), nn.Linear(192, 10))


def images(channels: int, size: int) -> torch.Tensor:
    return torch.randn(BATCH, channels, size, size)


def pairs() -> torch.Tensor:
    return torch.randint(0, 20, (BATCH, 2))


def labels(count: int) -> torch.Tensor:
    return torch.randint(0, count, (BATCH,))


MODELS = {
    "cnn": (lambda: SimpleCNN(8), lambda: images(3, 8), lambda: labels(10), cross_entropy),
    "cnn-mse": (lambda: SimpleCNN(8), lambda: images(3, 8), lambda: labels(10), squared_error),
    "mlp": (
        lambda: Perceptron(12, 1),
        lambda: torch.randn(BATCH, 12),
        lambda: torch.randn(BATCH, 1),
        nn.functional.mse_loss,
    ),
    "normalized": (PatchCNN, lambda: images(1, 32), lambda: labels(2), cross_entropy),
    "residual": (residual, lambda: images(3, 32), lambda: labels(10), cross_entropy),
    "transformer": (
        lambda: VisionTransformer(8, 4, 2, 2),
        lambda: images(3, 8),
        lambda: labels(10),
        cross_entropy,
    ),
    "factors": (
        lambda: Factors(20, 20, 8),
        pairs,
        lambda: torch.randint(0, 2, (BATCH, 1)).float(),
        nn.functional.binary_cross_entropy_with_logits,
    ),
}


@dataclass
class Pair:
    """One training in the framework and one in PyTorch, of the same weights."""

    ours: nn.Module
    theirs: nn.Module
    step: TrainingStep
    reference: TorchTrainingStep
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]]

    def losses(self, steps: int) -> list[tuple[float, float]]:
        self.theirs.train()
        found = []
        for _, (batch, targets) in zip(range(steps), self.batches, strict=False):
            found.append((self.step(batch, targets).item(), self.reference(batch, targets).item()))
        self.step.write_back()
        self.reference.write_back()
        return found

    def distance(self, without: str = "running_var") -> float:
        ours, theirs = self.ours.state_dict(), self.theirs.state_dict()
        return max((ours[name] - theirs[name]).abs().max().item() for name in theirs if without not in name)


def pair(name: str, optimizer: str, regime: Regime | None = None) -> Pair:
    torch.manual_seed(0)
    make, inputs, targets, loss = MODELS[name]
    ours = make()
    theirs = deepcopy(ours)
    technique, regime = OPTIMIZERS.parse(optimizer), regime or Regime()
    own = {} if regime.plain else {"regime": regime}
    step = BACKENDS.default(NAME).create().compile_step(ours, loss, technique, "fp32", **own)
    drawn = [(inputs(), targets()) for _ in range(10)]
    step.warm_up(*drawn[0], (each for _, each in drawn))
    reference = TorchTrainingStep(theirs, loss, build(technique, theirs), regime=regime)
    return Pair(ours, theirs, step, reference, iter(drawn * 5))


@pytest.mark.parametrize(
    ("optimizer", "numbers"), [("sgd", 0), ("momentum", 1), ("adam", 2), ("adamw", 2), ("rmsprop", 1)]
)
def test_the_state_that_is_kept_is_that_of_the_theory_and_counters(optimizer, numbers):
    training = pair("mlp", optimizer)
    training.losses(2)
    assert isinstance(training.step, KeepsState)
    theory = numbers * sum(4 * each.numel() for each in training.ours.parameters())
    assert theory <= training.step.state_bytes() <= theory + 32


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_first_fifty_losses_are_pytorchs(optimizer):
    losses = pair("cnn", optimizer).losses(50)
    assert losses[0][0] == pytest.approx(losses[0][1], abs=1e-5)
    assert all(ours == pytest.approx(theirs, rel=1e-2, abs=1e-3) for ours, theirs in losses)


@pytest.mark.parametrize("name", MODELS)
def test_models_are_trained_as_pytorch_trains_them(name):
    found = pair(name, "sgd:lr=0.02")
    losses = found.losses(3)
    assert losses[0][0] == pytest.approx(losses[0][1], abs=1e-5)
    assert losses[-1][0] == pytest.approx(losses[-1][1], abs=1e-4)
    assert found.distance() < 1e-4
    assert all(name in found.step.method for name in ("channels last", "jit" if "jax" in NAME else ""))


RULES = """
sgd:weight_decay=0.1     momentum               momentum:nesterov=true
nesterov                 adamw:weight_decay=0.5 rmsprop:alpha=0.9,momentum=0.5
"""


@pytest.mark.parametrize("optimizer", RULES.split())
def test_optimizers_update_weights_as_pytorchs_do(optimizer):
    found = pair("mlp", optimizer)
    before = deepcopy(found.theirs)
    found.losses(5)
    # On average: a step of Adam's is as large for gradients that are only rounding, of which a few exist.
    apart, moved = (
        sum(
            (one - other).abs().sum()
            for one, other in zip(net.parameters(), found.theirs.parameters(), strict=True)
        )
        for net in (found.ours, before)
    )
    assert apart < 1e-2 * moved


def test_warming_up_leaves_weights_statistics_and_random_numbers():
    generator = torch.get_rng_state()
    torch.manual_seed(0)
    after_seed = torch.get_rng_state()
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
    torch.set_rng_state(after_seed)
    before = deepcopy(model.state_dict())
    step = (
        BACKENDS.default(NAME).create().compile_step(model, cross_entropy, OPTIMIZERS.parse("adam"), "fp32")
    )
    step.warm_up(torch.randn(8, 4, generator=torch.Generator()), torch.zeros(8, dtype=torch.long))
    step.write_back()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), after_seed)
    assert not model.training
    torch.set_rng_state(generator)


def test_batches_are_counted_and_frozen_weights_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    model[0].requires_grad_(False)
    before = deepcopy(model.state_dict())
    step = BACKENDS.default(NAME).create().compile_step(model, cross_entropy, OPTIMIZERS.parse("sgd"), "fp32")
    for _ in range(3):
        step(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))
    step.write_back()
    assert model[1].num_batches_tracked == 3 and step.passes == 3
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[2].weight, before["2.weight"])
    assert not torch.equal(model[1].running_mean, before["1.running_mean"])


def test_what_has_no_counterpart_is_one_line():
    backend = BACKENDS.default(NAME).create()

    def refused(model: nn.Module, optimizer: str, **own: object) -> None:
        step = backend.compile_step(model, cross_entropy, OPTIMIZERS.parse(optimizer), "fp32", **own)
        step.warm_up(torch.randn(4, 6), torch.zeros(4, dtype=torch.long))

    with pytest.raises(CannotApply, match="has no layer here for aten"):
        refused(nn.Sequential(nn.Linear(6, 6), nn.Hardtanh()), "sgd")
    shared = nn.Linear(6, 6)
    with pytest.raises(CannotApply, match=r"\.weight is the weight of several layers"):
        refused(nn.Sequential(shared, shared), "sgd")
    with pytest.raises(CannotApply, match="variant is how PyTorch goes over tensors"):
        refused(nn.Linear(6, 6), "sgd:variant=foreach")
    with pytest.raises(CannotApply, match="adagrad has no rule in"):
        refused(nn.Linear(6, 6), "adagrad")
    left_out = torch.full((4,), -100)
    step = backend.compile_step(nn.Linear(6, 6), cross_entropy, OPTIMIZERS.parse("sgd"), "fp32")
    with pytest.raises(CannotApply, match="targets below 0"):
        step.warm_up(torch.randn(4, 6), left_out)
    with pytest.raises(CannotApply, match="trains batches of"):
        step(torch.randn(3, 6), torch.zeros(3, dtype=torch.long))


OWN = Regime(SCHEDULES.parse("cosine:warmup=0.2"), CLIPS.parse("norm:0.2"), AVERAGES.parse("ema:0.5"), 6)


@pytest.mark.skipif(NAME != "jax", reason="the other backends have no regime")
def test_flax_trains_by_a_schedule_with_clipping_and_an_average():
    found = pair("mlp", "momentum", OWN)
    assert all(ours == pytest.approx(theirs, abs=1e-4) for ours, theirs in found.losses(6))
    assert found.distance() < 1e-4
    assert found.step.clipping().steps == 6 and len(found.step.averaged) == 6


@pytest.mark.skipif(NAME == "jax", reason="optax has PyTorch's decay and a regime")
@pytest.mark.parametrize("optimizer", ["momentum", "adam", "rmsprop"])
def test_keras_refuses_a_decay_that_is_not_pytorchs_and_a_regime(optimizer):
    backend, loss = BACKENDS.default(NAME).create(), nn.functional.mse_loss
    with pytest.raises(CannotApply, match=r"weight_decay=0.1: Keras's .* apart from the gradient"):
        backend.compile_step(nn.Linear(2, 2), loss, OPTIMIZERS.parse(f"{optimizer}:weight_decay=0.1"), "fp32")
    with pytest.raises(CannotApply, match="without schedule, clip and average"):
        backend.compile_step(nn.Linear(2, 2), loss, OPTIMIZERS.parse(optimizer), "fp32", OWN)


def test_no_other_framework_is_imported():
    pair("mlp", "sgd").losses(1)
    own = {"jax": {"flax"}, "keras-tensorflow": {"keras", "tensorflow"}}
    # Without JAX: Keras and TensorFlow import it where it is installed, on whatever back end.
    assert {"keras", "flax", "tensorflow", "torchax"} & sys.modules.keys() == own.get(NAME, {"keras"})
