"""What static formats are calibrated with."""

from __future__ import annotations

import pytest
import torch

from techniques.backends.calibration import calibration_parts
from techniques.registry import CannotApply

SAMPLES = [torch.arange(0.0, 64.0)[:, None], torch.arange(64.0, 100.0)[:, None]]


@pytest.mark.parametrize(("batch_size", "batches"), [(1, 100), (32, 3), (96, 1)])
def test_batches_have_the_size_that_is_lowered_for_whatever_size_they_come_in(
    batch_size: int, batches: int
) -> None:
    parts = list(calibration_parts(iter(SAMPLES), batch_size))
    assert [len(part) for part in parts] == [batch_size] * batches
    assert torch.equal(torch.cat(parts), torch.cat(SAMPLES)[: batch_size * batches])


def test_too_few_samples_are_told_instead_of_leaving_a_model_uncalibrated() -> None:
    with pytest.raises(CannotApply, match="requires a calibration batch of 128 samples, got 100"):
        calibration_parts(SAMPLES, 128)
