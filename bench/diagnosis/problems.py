"""Small problems with known minima, each of which asks one thing of an optimizer (as Schaul et al. 2013 do).

The unknowns are the hidden matrix of a model that has an output layer too, so that optimizers find what they
expect: Muon a matrix, AdamW the rest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

SIDE = 6
_SEED = 0


@dataclass(frozen=True)
class Problem:
    """A loss to bring to its minimum.

    `model` makes the start, `loss` is what gradients are taken of at a step, and `gap` how far the model is
    from the minimum, 0 or more. It is solved where `steps` bring the gap below `goal` times the first one.
    """

    name: str
    about: str
    model: Callable[[], nn.Module]
    loss: Callable[[nn.Module, torch.Generator], torch.Tensor]
    gap: Callable[[nn.Module], torch.Tensor]
    steps: int
    goal: float


class Point(nn.Module):
    """A hidden matrix (`SIDE`, `SIDE`) and an output layer at its minimum, 0."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.hidden = nn.Linear(SIDE, SIDE, bias=False)
        self.output = nn.Linear(2, 2)
        with torch.no_grad():
            self.hidden.weight.copy_(start.expand(SIDE, SIDE))
            for parameter in self.output.parameters():
                parameter.zero_()


Function = Callable[[torch.Tensor], torch.Tensor]
Gradient = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def _point(
    name: str,
    about: str,
    function: Function,
    start: torch.Tensor,
    *,
    steps: int = 300,
    goal: float = 1e-2,
    change: Gradient | None = None,
) -> Problem:
    """Return a problem of one matrix; `change` returns a loss whose gradient is a disturbed one."""

    def gap(model: nn.Module) -> torch.Tensor:
        assert isinstance(model, Point)
        rest = sum(parameter.square().sum() for parameter in model.output.parameters())
        return function(model.hidden.weight) + 0.5 * rest

    def loss(model: nn.Module, random: torch.Generator) -> torch.Tensor:
        assert isinstance(model, Point)
        whole = gap(model)
        return whole if change is None else whole + change(model.hidden.weight, random)

    return Problem(name, about, lambda: Point(start), loss, gap, steps, goal)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(_SEED)


def _curvatures(condition: float) -> torch.Tensor:
    return torch.logspace(0, math.log10(condition), SIDE * SIDE).view(SIDE, SIDE)


def _quadratic(curvatures: torch.Tensor | float) -> Function:
    return lambda w: 0.5 * (curvatures * w * w).sum()


def _rotated(condition: float) -> Function:
    basis = torch.linalg.qr(torch.randn(SIDE**2, SIDE**2, generator=_generator()))[0]
    return lambda w: 0.5 * (_curvatures(condition).flatten() * (basis @ w.flatten()) ** 2).sum()


def _rosenbrock(w: torch.Tensor) -> torch.Tensor:
    x, y = w.view(-1, 2).unbind(1)
    return (10 * (y - x * x) ** 2 + (1 - x) ** 2).sum()


def _saddle(w: torch.Tensor) -> torch.Tensor:
    x, y = w.view(-1, 2).unbind(1)
    return (0.5 * x * x - 0.5 * y * y + 0.25 * y**4 + 0.25).sum()


def _noise(w: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    return (torch.randn(w.shape, generator=random) * w).sum()


_SHARE_SEEN = 0.1


def _sparse(w: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Take away the gradients of all elements of a bowl but a tenth, which get ten times theirs."""
    seen = (torch.rand(w.shape, generator=random) < _SHARE_SEEN).to(w.dtype) / _SHARE_SEEN
    return ((seen - 1) * w.detach() * w).sum()


class Factors(nn.Module):
    """A product of two hidden matrices; an output layer at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Linear(SIDE, SIDE, bias=False) for _ in range(2))
        self.output = nn.Linear(2, 2)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.copy_(0.3 * torch.randn(SIDE, SIDE, generator=_generator()))
            for parameter in self.output.parameters():
                parameter.zero_()


def _product_gap(model: nn.Module) -> torch.Tensor:
    assert isinstance(model, Factors)
    rest = sum(parameter.square().sum() for parameter in model.output.parameters())
    wanted = torch.eye(SIDE)
    return 0.5 * (model.second.weight @ model.first.weight - wanted).square().sum() + 0.5 * rest


def _parity() -> tuple[torch.Tensor, torch.Tensor]:
    bits = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))
    return bits, (bits.prod(1) > 0).long()


def _parity_net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2))


def _parity_gap(model: nn.Module) -> torch.Tensor:
    bits, odd = _parity()
    return functional.cross_entropy(model(bits), odd)


_ONES = torch.ones(())

PROBLEMS: tuple[Problem, ...] = (
    _point("bowl", "a quadratic of equal curvatures", _quadratic(1.0), _ONES),
    _point("valley", "a quadratic of condition 100 along the axes", _quadratic(_curvatures(100.0)), _ONES),
    _point(
        "deep valley",
        "a quadratic of condition 10,000 along the axes",
        _quadratic(_curvatures(1e4)),
        _ONES,
        goal=1e-4,
    ),
    _point("rotated valley", "a quadratic of condition 100 in a rotated basis", _rotated(100.0), _ONES),
    _point("curved valley", "Rosenbrock's function in 18 pairs", _rosenbrock, -_ONES, steps=500),
    _point(
        "saddle",
        "a saddle, 0.0001 beside its axis; minima at -1 and 1",
        _saddle,
        torch.tensor([1.0, 1e-4]).repeat(SIDE // 2),
        goal=0.05,
    ),
    _point("noise", "a bowl with noise of variance 1", _quadratic(1.0), 3 * _ONES, goal=0.1, change=_noise),
    _point(
        "sparse",
        "a bowl of which each step sees a tenth of the elements",
        _quadratic(1.0),
        _ONES,
        steps=500,
        change=_sparse,
    ),
    _point(
        "rescaled",
        "curvatures from 0.0001 to 10,000, minima as far as 1",
        _quadratic(torch.logspace(-4, 4, SIDE**2).view(SIDE, SIDE)),
        _ONES,
        goal=1e-6,
    ),
    _point(
        "plateau",
        "a well in a plain; gradients of 0.03 at the start",
        lambda w: (1 - torch.exp(-0.5 * w * w)).sum(),
        3 * _ONES,
        steps=500,
        goal=0.05,
    ),
    _point("cliff", "a fourth power, gradients of 1,000 at the start", lambda w: (w**4).sum(), 6.3 * _ONES),
    _point("kink", "the sum of absolute values", lambda w: w.abs().sum(), _ONES, goal=0.05),
    _point("small loss", "a bowl times 0.0001", _quadratic(1e-4), _ONES),
    _point("large loss", "a bowl times 10,000", _quadratic(1e4), _ONES),
    Problem(
        "product",
        "two matrices whose product is to be the identity",
        Factors,
        lambda model, random: _product_gap(model),
        _product_gap,
        steps=500,
        goal=0.01,
    ),
    Problem(
        "parity",
        "a small net that learns the parity of three bits",
        _parity_net,
        lambda model, random: _parity_gap(model),
        _parity_gap,
        steps=400,
        goal=0.1,
    ),
)
