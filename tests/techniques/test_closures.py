"""Optimizers that compute gradients themselves, and those that refuse a model's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.instruments.flops import count_step
from techniques.backends.training import TorchTrainingStep
from techniques.optimizers import OptimizerRow
from techniques.optimizers.torch_optim import build
from techniques.registry import CannotApply, Registry

INPUTS = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS @ torch.tensor([1.0, -2.0, 0.5, 0.0])


def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs[:, 0], targets)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 1)


class Sharpness(torch.optim.Optimizer):
    """Sharpness-aware minimization (Foret et al. 2021) as usually written: gradients, then a closure."""

    def __init__(self, parameters: Any, lr: float, rho: float = 0.05) -> None:
        super().__init__(parameters, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        assert closure is not None, "Sharpness Aware Minimization requires closure"
        (group,) = self.param_groups
        norm = torch.stack([parameter.grad.norm() for parameter in group["params"]]).norm()
        moved = [parameter.grad * group["rho"] / norm for parameter in group["params"]]
        for parameter, move in zip(group["params"], moved, strict=True):
            parameter.add_(move)
        with torch.enable_grad():
            closure()
        for parameter, move in zip(group["params"], moved, strict=True):
            parameter.sub_(move)
            parameter.sub_(parameter.grad * group["lr"])


def test_lbfgs_learns_and_every_pass_of_its_closure_counts() -> None:
    model = net()
    learn = TorchTrainingStep(model, squared, torch.optim.LBFGS(model.parameters(), max_iter=4))
    losses = [learn(INPUTS, TARGETS).item() for _ in range(5)]
    assert losses[-1] < 1e-3 * losses[0]
    assert learn.passes > 5


def test_an_optimizer_that_asks_for_a_closure_finds_gradients_too() -> None:
    model = net()
    learn = TorchTrainingStep(model, squared, Sharpness(model.parameters(), lr=0.2))
    losses = [learn(INPUTS, TARGETS).item() for _ in range(30)]
    assert losses[-1] < 0.1 * losses[0]
    assert learn.passes == 60


def test_other_optimizers_take_one_pass_a_step() -> None:
    model = net()
    learn = TorchTrainingStep(model, squared, torch.optim.Adam(model.parameters()))
    for _ in range(3):
        learn(INPUTS, TARGETS)
    assert learn.passes == 3


def test_the_flops_of_a_step_are_those_of_all_its_passes() -> None:
    model = net()
    once = count_step(model, squared, INPUTS, TARGETS, torch.optim.SGD(model.parameters(), lr=0.1))
    lbfgs = torch.optim.LBFGS(
        model.parameters(), max_iter=3, max_eval=3, tolerance_grad=0, tolerance_change=0
    )
    by_closure = count_step(model, squared, INPUTS, TARGETS, lbfgs)
    sharpness = count_step(model, squared, INPUTS, TARGETS, Sharpness(model.parameters(), lr=0.1))
    assert by_closure.forward.total == 3 * once.forward.total
    assert by_closure.backward.total == 3 * once.backward.total
    assert by_closure.optimizer.total > 0  # its dot products
    assert sharpness.forward.total == 2 * once.forward.total
    assert sharpness.optimizer.total == 0


@pytest.mark.parametrize(
    ("optimizer", "sparse", "reason"),
    [
        (torch.optim.Adam, True, "Adam does not support sparse gradients"),
        (torch.optim.SparseAdam, False, "SparseAdam does not support dense gradients"),
    ],
)
def test_gradients_that_an_optimizer_does_not_take_are_one_line(
    optimizer: Any, sparse: bool, reason: str
) -> None:
    model = nn.EmbeddingBag(10, 2, sparse=sparse)
    learn = TorchTrainingStep(model, functional.cross_entropy, optimizer(model.parameters()))
    with pytest.raises(CannotApply, match=reason):
        learn(torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1]))


def test_parameters_that_an_optimizer_does_not_take_are_one_line() -> None:
    table: Registry[OptimizerRow] = Registry(
        "optimizer", OptimizerRow, entry_points="bench.optimizers.of.none"
    )
    table.add("muon", "torch.optim:Muon", about="for matrices", defaults={"lr": 0.01})
    with pytest.raises(CannotApply, match="muon: Muon only supports 2D parameters"):
        build(table.parse("muon"), net())


def test_scaled_gradients_are_not_for_closures() -> None:
    table: Registry[OptimizerRow] = Registry(
        "optimizer", OptimizerRow, entry_points="bench.optimizers.of.none"
    )
    table.add("lbfgs", "torch.optim:LBFGS", about="limited-memory BFGS", defaults={"lr": 0.1})
    model = net()
    optimizer = build(table.parse("lbfgs"), model)
    with pytest.raises(CannotApply, match="LBFGS evaluates the loss itself"):
        TorchTrainingStep(model, squared, optimizer, scaler=torch.amp.GradScaler("cpu"))
