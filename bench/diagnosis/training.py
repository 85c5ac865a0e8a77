"""Takes steps on a problem with an optimizer of the table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.diagnosis.problems import Problem
from techniques.optimizers import OptimizerRow
from techniques.optimizers.second_order import backward, differentiates_twice
from techniques.optimizers.torch_optim import build, step, swaps_weights
from techniques.registry import Technique

RATES = 5

_SEED = 0

Loss = Callable[[nn.Module, torch.Generator], torch.Tensor]


def train(technique: Technique[OptimizerRow], model: nn.Module, loss: Loss, steps: int) -> Any:
    """Take steps; the weights that are evaluated are in the model afterwards. Return the optimizer.

    Raises CannotApply where the optimizer does not take the model.
    """
    random = torch.Generator().manual_seed(_SEED)
    # Compiling an update takes seconds for each shape, and it takes the same steps.
    with torch.random.fork_rng(devices=[]), torch.compiler.set_stance("force_eager"):
        torch.manual_seed(_SEED)
        optimizer: Any = build(technique, model)
        swaps = swaps_weights(optimizer)
        if swaps:
            optimizer.train()

        def evaluate() -> torch.Tensor:
            optimizer.zero_grad()
            value = loss(model, random)
            backward(value, create_graph=differentiates_twice(optimizer))
            return value

        for _ in range(steps):
            step(optimizer, evaluate)
        if swaps:
            optimizer.eval()
    return optimizer


def share_left(technique: Technique[OptimizerRow], problem: Problem) -> float:
    """Return the share of a problem's first gap that is left after its steps; infinite where it diverges."""
    model = problem.model()
    first = problem.gap(model).item()
    train(technique, model, problem.loss, problem.steps)
    with torch.no_grad():
        left = problem.gap(model).item() / first
    return left if math.isfinite(left) else math.inf


def at_rates(technique: Technique[OptimizerRow]) -> list[Technique[OptimizerRow]]:
    """Return a technique at rates spread over what its row searches, those close to its own first.

    There are none where the row does not say.
    """
    span = technique.row.space.get("lr")
    if span is None:
        return []
    own = math.log(float(technique.settings["lr"]))
    rates = [span.at(number / (RATES - 1)) for number in range(RATES)]
    rates.sort(key=lambda rate: abs(math.log(rate) - own))
    return [Technique(technique.row, {**technique.settings, "lr": rate}) for rate in rates]
