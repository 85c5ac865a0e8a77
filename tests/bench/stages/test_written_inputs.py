"""A model or a transform that writes to its input is handed what it would get, every time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.models.training import predict
from bench.stages.evaluate import run_all
from bench.workloads.workload import Data, Workload
from techniques.backends.eager import Eager
from techniques.backends.onnx_runtime import OnnxRuntime
from techniques.backends.openvino_runtime import OpenVino
from techniques.backends.protocol import Backend, Numerics, Program, TorchProgram, sparing_inputs
from techniques.backends.training import TorchTrainingStep

INPUTS = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) + 3
TARGETS = torch.arange(6) % 3


class Normalizing(nn.Module):
    """Normalizes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        batch.sub_(3.5).div_(0.3)
        return self.head(batch)


class Reusing(nn.Module):
    """Returns the same memory each time."""

    def __init__(self) -> None:
        super().__init__()
        self.held = torch.zeros(1, 4)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.held.copy_(batch)
        return self.held


def in_place(batch: torch.Tensor) -> torch.Tensor:
    return batch.sub_(3.5)


def workload(model: nn.Module, *, transform: bool = False) -> Workload:
    data = Data(INPUTS.clone(), TARGETS, INPUTS.clone(), TARGETS)
    apply = in_place if transform else lambda batch: batch
    return Workload(lambda: data, apply, lambda: model, functional.cross_entropy, None)


FP32 = Numerics(None, "fp32")


def lowered(backend: Backend, model: nn.Module, batch: torch.Tensor, folder: Path) -> Program:
    backend.lower(model.eval(), batch.clone(), FP32, [], folder)
    return backend.load(folder, Normalizing, FP32, 1)


@pytest.mark.parametrize("transform", [False, True], ids=["model", "transform"])
def test_evaluating_leaves_the_test_set(transform: bool) -> None:
    model = Normalizing().eval()
    own, cpu = workload(model, transform=transform), torch.device("cpu")
    inputs = INPUTS.clone()
    first, second = predict(model, own, inputs, cpu), predict(model, own, inputs, cpu)
    assert torch.equal(first.main, second.main) and torch.equal(inputs, INPUTS)


def test_outputs_that_a_model_overwrites_are_those_of_their_own_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.models.training.EVALUATION_BATCH", 1)
    assert torch.equal(predict(Reusing(), workload(Reusing()), INPUTS, torch.device("cpu")).main, INPUTS)


@pytest.mark.parametrize(
    "backend", [Eager("cpu"), OnnxRuntime(), OpenVino()], ids=["eager", "onnx", "openvino"]
)
def test_a_batch_that_is_served_again_gives_the_same_again(backend: Backend, tmp_path: Path) -> None:
    expected = Normalizing()(INPUTS[:2].clone()).detach()
    program = sparing_inputs(lowered(backend, Normalizing(), INPUTS[:2], tmp_path), INPUTS[:2])
    prepared = program.prepare(INPUTS[:2].clone())
    for _ in range(3):
        torch.testing.assert_close(program.to_tensor(program(prepared)), expected, rtol=1e-4, atol=1e-4)


def test_a_program_that_leaves_its_input_is_handed_it_as_it_is() -> None:
    program = TorchProgram(nn.Linear(4, 3), torch.device("cpu"), torch.float32)
    assert sparing_inputs(program, INPUTS) is program


def test_a_whole_test_set_is_served_and_left(tmp_path: Path) -> None:
    own = workload(Normalizing(), transform=True)
    program = lowered(Eager("cpu"), Normalizing(), INPUTS[:2], tmp_path)
    model = predict(Normalizing(), own, INPUTS.clone(), torch.device("cpu"))
    outputs = run_all(program, own, own.data(), 2, model).main
    assert torch.equal(own.data().test_inputs, INPUTS)
    torch.testing.assert_close(outputs, Normalizing()(INPUTS - 3.5).detach())


def test_an_optimizer_that_goes_over_a_batch_again_finds_the_same_batch() -> None:
    """The loss of the last of L-BFGS's passes is that of the weights it left, at the batch that was given."""
    model = Normalizing()
    learn = TorchTrainingStep(
        model,
        functional.cross_entropy,
        torch.optim.LBFGS(model.parameters(), max_iter=8, line_search_fn="strong_wolfe"),
    )
    learn.warm_up(INPUTS, TARGETS)
    first = learn(INPUTS, TARGETS)
    again = learn(INPUTS, TARGETS)
    assert learn.passes > 4 and again < first
    assert torch.isclose(functional.cross_entropy(model(INPUTS.clone()), TARGETS), learn(INPUTS, TARGETS))
