"""How many tokens a model of some size is best trained with: Hoffmann et al. 2022, "Training Compute-Optimal
Large Language Models" ("Chinchilla").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_BEST = {
    4e8: 8.0e9,
    1e9: 20.2e9,
    1e10: 205.1e9,
    6.7e10: 1.5e12,
    1.75e11: 3.7e12,
    2.8e11: 5.9e12,
    5.2e11: 11.0e12,
    1e12: 21.2e12,
    1e13: 216.2e12,
}
"""Parameters and tokens of their table 3, by their first approach."""

_IRREDUCIBLE, _OF_PARAMETERS, _OF_TOKENS = 1.69, (406.4, 0.34), (410.7, 0.28)
"""L(N, D) = E + A / N^a + B / D^b, in nats a token, of their third approach (equation 10)."""

SOURCE = "Hoffmann et al. 2022, table 3 and equation 10"


@dataclass(frozen=True)
class ComputeOptimal:
    """`tokens` are the best for this many parameters, `flops` what they take by 6 N D.

    `loss` is what the law of their third approach says of the tokens at hand, nats a token on their data,
    `optimal_loss` of the best ones; `parameters_for_budget` is the size that would spend the FLOPs at hand
    best. Those are None where no tokens are at hand.
    """

    tokens: float
    flops: float
    optimal_loss: float
    loss: float | None
    parameters_for_budget: float | None
    source: str = SOURCE


def compute_optimal(parameters: float, tokens: float | None) -> ComputeOptimal:
    """Return what is best for a model of so many parameters, and what `tokens` at hand are worth."""
    best = optimal_tokens(parameters)
    return ComputeOptimal(
        best,
        6 * parameters * best,
        expected_loss(parameters, best),
        expected_loss(parameters, tokens) if tokens else None,
        optimal_parameters(6 * parameters * tokens) if tokens else None,
    )


def optimal_tokens(parameters: float) -> float:
    """Return the tokens that a model is best trained with, between the rows of the table by powers.

    Beyond the table, the ratio of its nearest row.
    """
    sizes, tokens = np.array(list(_BEST)), np.array(list(_BEST.values()))
    ratio = np.interp(math.log(parameters), np.log(sizes), np.log(tokens / sizes))
    return float(parameters * math.exp(float(ratio)))


def optimal_parameters(flops: float) -> float:
    """Return the parameters of the model that spends a budget of 6 N D FLOPs best."""
    low, high = 0.0, 40.0
    for _ in range(100):
        middle = (low + high) / 2
        size = math.exp(middle)
        low, high = (middle, high) if 6 * size * optimal_tokens(size) < flops else (low, middle)
    return math.exp(low)


def expected_loss(parameters: float, tokens: float) -> float:
    """Return the loss that the law expects, nats a token."""
    (a, alpha), (b, beta) = _OF_PARAMETERS, _OF_TOKENS
    return float(_IRREDUCIBLE + a / parameters**alpha + b / tokens**beta)
