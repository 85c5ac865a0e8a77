"""A training step says where its parts begin, and learns the same whether or not anybody listens."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from techniques.backends import BACKENDS
from techniques.backends.training import StepInParts, TorchTrainingStep, TrainingOptions
from techniques.optimizers import OPTIMIZERS

INPUTS = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 3


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 3))


def marks_of(learn: TorchTrainingStep) -> list[str]:
    marks: list[str] = []
    learn.on_part = marks.append
    learn(INPUTS, LABELS)
    learn.on_part = None
    return [part for place, part in enumerate(marks) if not place or part != marks[place - 1]]


def torch_step(optimizer: type[torch.optim.Optimizer], **settings: float) -> TorchTrainingStep:
    model = net()
    return TorchTrainingStep(model, nn.functional.cross_entropy, optimizer(model.parameters(), **settings))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("backend", ["cpu-eager", "cpu-eager:checkpoint=true"])
def test_a_step_clears_gradients_goes_forward_and_backward_and_updates(backend, precision):
    learn = (
        BACKENDS.parse(backend)
        .create()
        .compile_step(net(), nn.functional.cross_entropy, OPTIMIZERS.parse("adam"), precision)
    )
    assert isinstance(learn, StepInParts)
    assert marks_of(learn) == ["optimizer", "forward", "backward", "optimizer"]


def test_each_part_of_an_accumulated_batch_goes_forward_and_backward():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learn = TorchTrainingStep(
        model, nn.functional.cross_entropy, optimizer, options=TrainingOptions(accumulate=2)
    )
    assert marks_of(learn) == ["optimizer", *["forward", "backward"] * 2, "optimizer"]


def test_every_pass_that_an_optimizer_asks_for_is_marked():
    learn = torch_step(torch.optim.LBFGS, max_iter=4)
    marks = marks_of(learn)
    assert learn.passes > 1
    assert marks == ["optimizer", *["forward", "backward", "optimizer"] * learn.passes]


def test_whoever_listens_changes_nothing_of_what_is_learned():
    alone, heard = (torch_step(torch.optim.Adam, lr=0.01) for _ in range(2))
    for _ in range(3):
        alone(INPUTS, LABELS)
        marks_of(heard)
    for one, other in zip(alone.model.parameters(), heard.model.parameters(), strict=True):
        assert torch.equal(one, other)
