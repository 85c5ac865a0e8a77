"""The first 20 steps of optimizers, held against their papers' rules and against other libraries."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from techniques.optimizers import OPTIMIZERS
from techniques.optimizers.second_order import backward, differentiates_twice
from techniques.optimizers.torch_optim import build, swaps_weights
from tests.support import optimizer_references as paper
from tests.support.optimizer_references import curvature

STEPS = 20


def net() -> nn.Module:
    """Return fp64 weights: a kernel and two matrices, wide and tall, with vectors, and an output layer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(7, 5), nn.Linear(4, 6), nn.Linear(2, 3)).double()


def loss_of(model: nn.Module, step: int) -> torch.Tensor:
    """Return a quadratic of known curvature, with a slope that is another one at each step."""
    torch.manual_seed(100 + step)
    return sum(
        (0.5 * curvature(w) * w * w + torch.randn(w.shape, dtype=w.dtype) * w).sum()
        for w in model.parameters()
    )  # type: ignore[return-value]


def gradients_at(model: nn.Module, step: int) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss_of(model, step), list(model.parameters())))


def stepped(text: str, model: nn.Module, steps: int = STEPS) -> torch.optim.Optimizer:
    """Take steps of a row's optimizer on a model."""
    technique = OPTIMIZERS.parse(text)
    reason = technique.row.unavailable()
    if reason:
        pytest.skip(reason)
    optimizer = build(technique, model)
    if swaps_weights(optimizer):
        optimizer.train()  # type: ignore[attr-defined]
    for number in range(steps):
        optimizer.zero_grad()
        backward(loss_of(model, number), create_graph=differentiates_twice(optimizer))
        torch.manual_seed(number)
        optimizer.step()
    return optimizer


def follow(rule: paper.Rule, model: nn.Module, steps: int = STEPS) -> None:
    """Take steps by a reference's rule."""
    next(rule)
    for number in range(steps):
        gradients = gradients_at(model, number)
        weights = [w.detach().clone() for w in model.parameters()]
        torch.manual_seed(number)
        with torch.no_grad():
            for w, update in zip(model.parameters(), rule.send((weights, gradients)), strict=True):
                w.add_(update)


def difference(one: nn.Module, other: nn.Module) -> float:
    """Return the largest difference between the weights of two models, in units of the largest weight."""
    pairs = list(zip(one.parameters(), other.parameters(), strict=True))
    assert all(torch.isfinite(a).all() for a, _ in pairs)
    return max((a - b).abs().max().item() for a, b in pairs) / max(b.abs().max().item() for _, b in pairs)


ADAM = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
RULES: dict[str, tuple[Any, dict[str, float]]] = {
    "sgd:lr=0.05,weight_decay=0.1": (paper.sgd, {"lr": 0.05, "weight_decay": 0.1}),
    "momentum:lr=0.05": (paper.heavy_ball, {"lr": 0.05, "momentum": 0.9}),
    "nesterov:lr=0.05": (paper.nesterov, {"lr": 0.05, "momentum": 0.9}),
    "adam:lr=0.01,weight_decay=0.1": (paper.adam, {**ADAM, "weight_decay": 0.1}),
    "adamw:lr=0.01,weight_decay=0.1": (paper.adam, {**ADAM, "decay": 0.1}),
    "nadam:lr=0.01": (paper.nadam, {**ADAM, "momentum_decay": 4e-3}),
    "radam:lr=0.01": (paper.radam, ADAM),
    "adamax:lr=0.01": (paper.adamax, ADAM),
    "adagrad:lr=0.1": (paper.adagrad, {"lr": 0.1, "eps": 1e-10}),
    "adadelta": (paper.adadelta, {"lr": 1.0, "rho": 0.95, "eps": 1e-6}),
    "rmsprop:lr=0.01,momentum=0.5": (
        paper.rmsprop,
        {"lr": 0.01, "alpha": 0.99, "eps": 1e-8, "momentum": 0.5},
    ),
    "adafactor:lr=0.1": (paper.adafactor, {"lr": 0.1, "beta2_decay": -0.8, "d": 1.0}),
    "lamb:lr=0.1": (paper.lamb, {**ADAM, "lr": 0.1, "eps": 1e-6, "weight_decay": 0.01}),
    "lars:lr=20": (
        paper.lars,
        {"lr": 20.0, "momentum": 0.9, "trust_coefficient": 1e-3, "weight_decay": 5e-4},
    ),
    "lion:lr=0.01,weight_decay=0.5": (
        paper.lion,
        {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.5},
    ),
    "sophia:lr=0.05,gamma=0.5,update_period=3": (
        paper.sophia,
        {
            **{"lr": 0.05, "beta1": 0.96, "beta2": 0.99, "gamma": 0.5, "eps": 1e-12, "weight_decay": 0.2},
            "update_period": 3,
        },
    ),
    "shampoo:lr=0.05,period=2,start=5": (
        paper.shampoo,
        {"lr": 0.05, "beta1": 0.9, "beta2": 0.999, "matrix_eps": 1e-6, "period": 2, "start": 5},
    ),
    "ademamix:lr=0.01,weight_decay=0.1": (
        paper.ademamix,
        {**ADAM, "beta3": 0.9999, "alpha": 5.0, "weight_decay": 0.1},
    ),
    "mars:lr=0.01,lr_1d=0.02,weight_decay_1d=0": (
        paper.mars,
        {"lr": 0.01, "beta1": 0.95, "beta2": 0.99, "gamma": 0.025, "eps": 1e-8, "lr_1d": 0.02},
    ),
    "adopt:lr=0.01,weight_decay=0.1": (
        paper.adopt,
        {"lr": 0.01, "beta1": 0.9, "beta2": 0.9999, "eps": 1e-6, "weight_decay": 0.1},
    ),
    "prodigy": (paper.prodigy, {"lr": 1.0, "beta1": 0.9, "beta2": 0.999, "d0": 1e-6, "eps": 1e-8}),
}
# Shampoo's roots are found by an iteration that ends at an error of 1e-3.
TOLERANCES = {"shampoo": 1e-3, "mars": 1e-6}


@pytest.mark.parametrize("text", RULES)
def test_twenty_steps_are_those_of_the_paper(text: str) -> None:
    ours, theirs = net(), net()
    stepped(text, ours)
    rule, settings = RULES[text]
    follow(rule(**settings), theirs)
    assert difference(net(), theirs) > 1e-3  # the rule moves the weights
    assert difference(ours, theirs) < TOLERANCES.get(text.partition(":")[0], 1e-9)


def test_twenty_steps_of_soap_are_those_of_the_paper() -> None:
    # Sides that differ by at most 1: the first gradient alone leaves no choice of an eigenbasis.
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 5), nn.Linear(4, 5), nn.Linear(3, 3)).double()
    theirs = deepcopy(ours)
    stepped("soap:lr=0.01,weight_decay=0.1,precondition_frequency=4", ours)
    settings = {"lr": 0.01, "beta1": 0.95, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
    follow(paper.soap(**settings, precondition_frequency=4), theirs)
    assert difference(ours, theirs) < 1e-6


def test_twenty_steps_of_kron_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 5), nn.Linear(3, 4)).double()
    theirs = deepcopy(ours)
    stepped("psgd-kron:lr=0.01", ours)
    follow(paper.kron(lr=0.01, momentum=0.9), theirs)
    assert difference(ours, theirs) < 1e-4


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (
            "schedule-free-adamw:lr=0.01,weight_decay=0.1",
            {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.1},
        ),
        ("schedule-free-sgd:lr=0.05,weight_decay=0.1", {"lr": 0.05, "beta1": 0.9, "weight_decay": 0.1}),
    ],
)
def test_schedule_free_trains_one_point_and_evaluates_the_average(
    text: str, settings: dict[str, float]
) -> None:
    ours, theirs, average = net(), net(), net()
    optimizer = stepped(text, ours)
    rule = paper.schedule_free(**settings)
    next(rule)
    for number in range(STEPS):
        weights = [w.detach().clone() for w in theirs.parameters()]
        y, x = rule.send((weights, gradients_at(theirs, number)))
        with torch.no_grad():
            for model, values in ((theirs, y), (average, x)):
                for w, value in zip(model.parameters(), values, strict=True):
                    w.copy_(value)
    assert difference(ours, theirs) < 1e-9
    optimizer.eval()  # type: ignore[attr-defined]
    assert difference(ours, average) < 1e-9
    optimizer.train()  # type: ignore[attr-defined]
    assert difference(ours, theirs) < 1e-9


def hidden(model: nn.Module) -> list[nn.Parameter]:
    return [model[0].weight, model[1].weight, model[2].weight]  # type: ignore[index, list-item]


MUON_LR = 0.02


def test_muon_orthogonalizes_hidden_matrices_and_leaves_the_rest_to_adamw() -> None:
    ours, theirs = net(), net()
    stepped(f"muon:lr={MUON_LR},adamw_lr=0.01,eps=1e-8", ours)
    matrices = {id(w) for w in hidden(theirs)}
    muon, adamw = paper.muon(lr=MUON_LR, momentum=0.95), paper.adam(lr=0.01, beta1=0.9, beta2=0.95, eps=1e-8)
    next(muon), next(adamw)
    for number in range(STEPS):
        gradients = dict(zip(map(id, theirs.parameters()), gradients_at(theirs, number), strict=True))
        for rule, chosen in (
            (muon, [w for w in theirs.parameters() if id(w) in matrices]),
            (adamw, [w for w in theirs.parameters() if id(w) not in matrices]),
        ):
            updates = rule.send(([w.detach().clone() for w in chosen], [gradients[id(w)] for w in chosen]))
            with torch.no_grad():
                for w, update in zip(chosen, updates, strict=True):
                    w.add_(update)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        # Products are of bf16, which rounds in another order here.
        tolerance = STEPS * MUON_LR * 0.05 if id(other) in matrices else 1e-9
        assert (one - other).abs().max() < tolerance


def test_muon_is_that_of_pytorch_optimizer() -> None:
    package = pytest.importorskip("pytorch_optimizer")
    ours, theirs = net(), net()
    stepped("muon:lr=0.02,adamw_lr=0.01,weight_decay=0.1,adamw_weight_decay=0.2", ours)
    matrices = {id(w) for w in hidden(theirs)}
    groups = [
        {"params": hidden(theirs), "use_muon": True, "lr": 0.02, "weight_decay": 0.1},
        {
            "params": [w for w in theirs.parameters() if id(w) not in matrices],
            **{"use_muon": False, "lr": 0.01, "weight_decay": 0.2},
        },
    ]
    optimizer = package.Muon(groups)
    for number in range(STEPS):
        optimizer.zero_grad()
        loss_of(theirs, number).backward()
        optimizer.step()
    assert difference(ours, theirs) < 0.02


def test_muon_takes_kernels_in_any_layout_of_memory() -> None:
    plain, last = net(), net()
    last[0].to(memory_format=torch.channels_last)
    for model in (plain, last):
        stepped("muon", model, steps=5)
    assert difference(plain, last) < 0.01
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_kron_whitens_gradients() -> None:
    """Gradients that are 100 times as large in one direction as in another move weights as far in both."""
    pytest.importorskip("pytorch_optimizer")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8, bias=False))
    optimizer = build(OPTIMIZERS.parse("psgd-kron:lr=0.01"), model)
    scale = torch.tensor([10.0, 0.1])
    moved = torch.zeros(2)
    for number in range(400):
        before = model[0].weight.detach().clone()
        model[0].weight.grad = torch.randn(8, 2) * scale
        optimizer.step()
        if number >= 300:
            moved += (model[0].weight - before).norm(dim=0).detach()
    assert 0.5 < moved[0] / moved[1] < 2


@pytest.mark.parametrize(
    "name", [name for name, row in OPTIMIZERS.rows().items() if "variant" in row.defaults]
)
def test_variants_of_an_implementation_take_the_same_steps(name: str) -> None:
    row = OPTIMIZERS.get(name)
    variants = [word.strip() for word in row.ranges["variant"].split(",")]
    models = {variant: net() for variant in variants}
    for variant, model in models.items():
        stepped(f"{name}:variant={variant}", model, steps=10)
    assert difference(net(), models["loop"]) > 0
    for model in models.values():
        assert difference(model, models["loop"]) < 1e-9


@pytest.mark.slow
def test_eight_bits_are_close_to_adamw_and_small_tensors_are_adamw() -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(64, 128), nn.Linear(3, 3))
    theirs = deepcopy(ours)
    stepped("adamw-8bit:lr=0.01", ours, steps=8)
    stepped("adamw:lr=0.01", theirs, steps=8)

    assert torch.allclose(ours[1].weight, theirs[1].weight, atol=1e-6)
    apart = (ours[0].weight - theirs[0].weight).abs()
    assert apart.mean() < 0.1 * 8 * 0.01
    assert apart.max() > 0
