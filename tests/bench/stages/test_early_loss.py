"""The loss of the first steps: the same in every launch of a deterministic backend, exact where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.records import Measurement
from bench.stages import step
from bench.stages.early_loss import FIRST, EarlyLoss
from tests.support.stage_requests import request_of


def after(*losses: float) -> Measurement:
    left = iter(losses)
    early = EarlyLoss(lambda: torch.tensor(next(left)))
    for _ in losses:
        early()
    return early.measured()


@pytest.mark.parametrize("optimizer", ["adam", "sgd:lr=0.1", "muon"])
def test_two_launches_of_a_step_agree_bit_for_bit(optimizer: str, tmp_path: Path) -> None:
    request = request_of("step", tmp_path, {"optimizer": optimizer, "sample_s": 0.02})
    first, second = (
        next(entry for entry in step.run(request, tmp_path) if entry.metric == "early_loss") for _ in range(2)
    )
    assert first.value == second.value and first.value is not None and first.n == FIRST


def test_it_is_the_mean_of_the_first_losses_whatever_comes_later() -> None:
    assert after(4.0, 3.0, 2.0, 1.0, 100.0).value == 2.5


def test_one_bit_of_one_loss_shows() -> None:
    one = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0)).item()
    assert after(4.0, 3.0, 2.0, 1.0).value != after(4.0, 3.0, 2.0, one).value


def test_a_loss_that_the_next_step_overwrites_is_kept() -> None:
    kept = torch.tensor(0.0)
    early = EarlyLoss(lambda: kept.add_(1.0))
    for _ in range(FIRST):
        early()
    assert early.measured().value == 2.5


def test_too_few_steps_and_losses_that_are_not_finite_have_a_reason() -> None:
    assert after(1.0).value is None and "fewer than 4" in after(1.0).reason
    assert after(1.0, float("nan"), 1.0, 1.0).value is None
