"""How the tests of FLOPs count: with every operator known, with gradients and without."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from bench.instruments import flops


def forward(call: Callable[[], object]) -> int:
    counted = flops.count(call)
    assert counted.unknown == ()
    assert counted.total == sum(counted.by_operator.values())
    return counted.total


def backward(call: Callable[[], torch.Tensor]) -> int:
    result = call().sum()
    return forward(result.backward)


def both_modes(call: Callable[[], torch.Tensor]) -> int:
    """Count with gradients, without, and in inference mode, where operators arrive whole."""
    with_grad = forward(call)
    with torch.no_grad():
        assert forward(call) == with_grad
    with torch.inference_mode():
        assert forward(call) == with_grad
    return with_grad


def simple_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
