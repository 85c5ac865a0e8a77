"""The least bytes of a call against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.instruments.traffic import call_bytes, step_bytes


@pytest.mark.parametrize(
    ("format_", "precision", "weight", "rest"),
    [
        (None, "fp32", 4, 4),
        (None, "bf16", 2, 2),
        ("int8-static", "fp32", 1, 4),
        ("int4-weight", "bf16", 0.5, 2),
        ("fp8", "fp32", 1, 4),
    ],
)
def test_a_call_moves_weights_inputs_and_outputs_once(format_, precision, weight, rest):
    model = nn.Linear(10, 20)
    inputs = torch.zeros(3, 10)
    moved = call_bytes(model, inputs, [model(inputs)], format_, precision)
    assert moved == weight * 200 + rest * (20 + 30 + 60)


def test_a_weight_that_two_layers_share_moves_once():
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    second.weight = first.weight
    inputs = torch.zeros(1, 8)
    assert call_bytes(nn.Sequential(first, second), inputs, [inputs], None, "fp32") == 4 * (64 + 8 + 8)


def test_a_step_reads_and_writes_weights_gradients_and_optimizer_state():
    model = nn.Linear(10, 20, bias=False)
    inputs = torch.zeros(3, 10)
    assert step_bytes(model, inputs, torch.optim.SGD(model.parameters(), lr=0.1)) == 4 * (2 * 2 * 200 + 30)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(inputs).sum().backward()
    optimizer.step()
    assert step_bytes(model, inputs, optimizer) == 4 * (2 * 3 * 200 + 30)
