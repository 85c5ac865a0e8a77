"""The diagnosis of optimizers: it finds planted faults, and passes what is right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bench.diagnosis.contracts import CONTRACTS
from bench.diagnosis.optimizers import Finding, check_contract, check_problem
from bench.diagnosis.problems import PROBLEMS
from bench.diagnosis.training import at_rates, share_left
from techniques.optimizers import OPTIMIZERS, OptimizerRow, Span
from techniques.optimizers.state import buffers
from techniques.registry import Registry, Technique


class Plain(torch.optim.Optimizer):
    """Gradient descent with decoupled weight decay; subclasses do one thing wrong."""

    def __init__(self, parameters: Any, lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.update(weight, group["lr"], group["weight_decay"])

    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        weight.mul_(1 - lr * decay).sub_(weight.grad, alpha=lr)


class Nothing(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        return


class MatricesOnly(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        if weight.dim() == 2:
            super().update(weight, lr, decay)


class WithoutDecay(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        super().update(weight, lr, 0.0)


class OwnRate(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        super().update(weight, 0.01, decay)


class Drifts(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        super().update(weight, lr, decay)
        weight.add_(0.01)


class Secret(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        super().update(weight, lr, decay)
        self.state[weight]["kept"] = weight.clone()


class Ascends(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        weight.add_(weight.grad, alpha=lr)


class Forgets(Plain):
    def train(self) -> None:
        return

    def eval(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                weight.data.mul_(0.5)


SEEDS: Iterator[int] = iter(range(1_000_000))


class Random(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        random = torch.Generator().manual_seed(next(SEEDS))
        weight.sub_(weight.grad * (0.5 + torch.rand(weight.shape, generator=random)), alpha=lr)


class KeepsMomentum(torch.optim.SGD):
    """Keeps a buffer of momentum, and takes plain steps."""

    def step(self, closure: Any = None) -> None:
        before = {
            weight: weight.detach().clone() for group in self.param_groups for weight in group["params"]
        }
        super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        weight.copy_(before[weight] - group["lr"] * weight.grad)


class Raises(Plain):
    def update(self, weight: torch.Tensor, lr: float, decay: float) -> None:
        raise IndexError("list index out of range")


def technique(kind: type, **traits: Any) -> Technique[OptimizerRow]:
    table = Registry("optimizer", OptimizerRow, entry_points="none.of.these")
    table.add(
        "mine",
        f"{__file__}:{kind.__name__}",
        about="Mine (Nobody 2026)",
        defaults={"lr": 0.05, "weight_decay": 0.0},
        space={"lr": Span(1e-3, 1.0)},
        state={"mine": buffers(0)},
        **traits,
    )
    return table.parse("mine")


def broken(kind: type) -> dict[str, str]:
    own = technique(kind)
    found = {}
    for contract in CONTRACTS:
        try:
            found[contract.name] = contract.breach(own)
        except Exception as error:
            found[contract.name] = str(error)
    return {name: reason for name, reason in found.items() if reason}


@pytest.mark.parametrize(
    ("kind", "contract", "reason"),
    [
        (Nothing, "moves", "these have not moved: kernel.weight"),
        (MatricesOnly, "moves", "these have not moved: kernel.weight, kernel.bias"),
        (WithoutDecay, "decays", "weight_decay=0.5 does not shrink the weights"),
        (OwnRate, "rate", "a tenth of the rate moves the weights as far"),
        (Drifts, "stays", "gradients of 0 move kernel.weight"),
        (Secret, "state", "by theory 0"),
        (Ascends, "learns", "the loss goes from"),
        (Forgets, "swaps", r"train\(\) and eval\(\) do not bring the weights back"),
        (Random, "repeats", "moved otherwise"),
        (OwnRate, "settings", "another value of lr changes no step"),
        (Raises, "moves", "list index out of range"),
    ],
)
def test_a_planted_fault_breaks_its_contract(kind: type, contract: str, reason: str) -> None:
    assert re.search(reason, broken(kind)[contract])


def test_gradient_descent_breaks_none() -> None:
    assert broken(Plain) == {}


@pytest.mark.parametrize(
    ("implementation", "reason"),
    [(f"{__file__}:KeepsMomentum", "another value of momentum changes no step"), ("torch.optim:SGD", "")],
)
def test_momentum_that_is_kept_and_never_used_is_found(implementation: str, reason: str) -> None:
    table = Registry("optimizer", OptimizerRow, entry_points="none.of.these")
    table.add(
        "mine",
        implementation,
        about="Mine (Nobody 2026)",
        defaults={"lr": 0.05, "momentum": 0.9},
        ranges={"momentum": "(0, 1)"},
        state={"mine": buffers(1)},
    )
    own = table.parse("mine")
    found = {contract.name: contract.breach(own) for contract in CONTRACTS}
    assert {name: why for name, why in found.items() if why} == ({"settings": reason} if reason else {})


def solved(name: str, problem: str) -> Finding:
    (found,) = (entry for entry in PROBLEMS if entry.name == problem)
    return check_problem(OPTIMIZERS.parse(name), found)


@pytest.mark.parametrize(
    ("problem", "by_adam", "by_gradient_descent"),
    [
        ("bowl", "pass", "pass"),
        ("valley", "pass", "pass"),
        ("rescaled", "pass", "fail"),
        ("large loss", "pass", "fail"),
    ],
)
def test_adam_solves_what_is_badly_scaled_and_gradient_descent_does_not(
    problem: str, by_adam: str, by_gradient_descent: str
) -> None:
    assert solved("adam", problem).verdict == by_adam
    sgd = solved("sgd", problem)
    assert sgd.verdict == by_gradient_descent
    assert sgd.verdict == "pass" or "of the gap is left" in sgd.reason


def test_a_problem_that_only_another_rate_solves_says_which() -> None:
    slow = solved("sgd:lr=1e-6", "bowl")
    assert slow.verdict == "pass"
    assert not slow.at_default and slow.reason.startswith("lr=")
    assert solved("sgd", "bowl").at_default


def test_what_an_optimizer_raises_breaks_a_contract_and_solves_nothing() -> None:
    own = technique(Raises)
    broken = check_contract(own, CONTRACTS[0])
    assert (broken.verdict, broken.reason) == ("fail", "IndexError: list index out of range")
    assert check_problem(own, PROBLEMS[0]).verdict == "fail"


def test_what_an_optimizer_refuses_is_neither_kept_nor_broken() -> None:
    table = Registry("optimizer", OptimizerRow, entry_points="none.of.these")
    table.add("matrices", "torch.optim:Muon", about="For matrices", defaults={"lr": 0.1})
    own = table.parse("matrices")
    assert check_contract(own, CONTRACTS[0]).verdict == "cannot"
    assert "only supports 2D parameters" in check_problem(own, PROBLEMS[0]).reason


def test_rates_are_spread_over_what_a_row_is_searched_in() -> None:
    rates = [float(other.settings["lr"]) for other in at_rates(technique(Plain))]
    assert min(rates) == pytest.approx(1e-3) and max(rates) == pytest.approx(1.0)
    assert len(set(rates)) == 5
    assert 0.01 < rates[0] < 0.2  # the row's own is 0.05


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_a_problem_begins_away_from_its_minimum_and_has_a_gradient_there(problem: Any) -> None:
    model = problem.model()
    assert problem.gap(model) > 0.01 * problem.goal
    problem.loss(model, torch.Generator().manual_seed(0)).backward()
    lengths = [weight.grad.norm() for weight in model.parameters() if weight.grad is not None]
    assert max(lengths) > 0
    assert share_left(OPTIMIZERS.parse("sgd:lr=1e-9"), problem) == pytest.approx(1, abs=0.02)


def test_there_are_about_twenty_checks_of_known_answers() -> None:
    assert len(PROBLEMS) + len(CONTRACTS) >= 20
