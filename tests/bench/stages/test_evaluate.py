"""What makes outputs INVALID, and what does not."""

from __future__ import annotations

import pytest
import torch

from bench.stages.evaluate import closeness
from techniques.compression import Tolerance

OWN = torch.tensor([[2.0, -2.0], [-1.5, 1.5], [0.001, -0.001]])


def judged(outputs: torch.Tensor, allowed: Tolerance) -> dict[str, object]:
    return {entry.metric: entry for entry in closeness(outputs, OWN, allowed)}


def test_a_sample_between_two_classes_may_turn_round():
    turned = OWN * torch.tensor([[1.0], [1.0], [-1.0]])
    found = judged(turned, Tolerance(cosine=0.98))
    assert found["valid"].value == 1 and found["cosine"].value == pytest.approx(1, abs=1e-6)
    assert found["absolute_error"].value == pytest.approx(0.002)
    assert found["top1_agreement"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (-OWN, "cosine -1.0000 is under 0.98"),
        (OWN * torch.tensor([[1.0], [-1.0], [1.0]]), "cosine 0.2800 is under 0.98"),
        (OWN * torch.tensor([[1.0], [float("nan")], [1.0]]), "outputs are not finite"),
    ],
)
def test_outputs_that_point_elsewhere_or_are_no_numbers_are_invalid(outputs, reason):
    entry = judged(outputs, Tolerance(cosine=0.98))["valid"]
    assert entry.value == 0 and reason in entry.reason
