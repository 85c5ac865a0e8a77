"""Small tables: a fixed split, features of one scale, and a net of two hidden layers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from bench import datasets
from bench.workloads.splits import with_validation
from bench.workloads.workload import Data


class Perceptron(nn.Module):
    """Two hidden layers of 64 units; input (batch, features), output (batch, outputs).

    `width` multiplies the hidden units.
    """

    def __init__(self, features: int, outputs: int, width: float = 1.0) -> None:
        super().__init__()
        hidden = max(1, round(64 * width))
        self.layers = nn.Sequential(
            nn.Linear(features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return answers (batch, outputs)."""
        answers: torch.Tensor = self.layers(rows)
        return answers


def standardized_table(name: str) -> Data:
    """Return a table whose features, float32, have mean 0 and variance 1 over its training rows.

    Features are (rows, features); the answers are as they are, of shape (rows,). Raises DataError where the
    data set is not here.
    """
    table = datasets.load(name)
    rows = (table.train_features, table.train_answers, table.test_features, table.test_answers)
    data = with_validation(Data(*(torch.as_tensor(part) for part in rows)))
    train, validation = data.train_inputs, data.validation
    assert validation is not None
    return replace(
        data,
        train_inputs=standardized(train, train),
        validation=replace(validation, inputs=standardized(validation.inputs, train)),
        test_inputs=standardized(data.test_inputs, train),
    )


def standardized(values: torch.Tensor, train: torch.Tensor) -> torch.Tensor:
    """Return values (rows, ...) as float32, shifted and scaled as gives `train` mean 0 and variance 1."""
    return ((values - train.mean(0)) / train.std(0, correction=0)).to(torch.float32)
