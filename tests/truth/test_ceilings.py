"""Ceilings against what must hold on any machine."""

from __future__ import annotations

import time

import pytest
import torch

from bench.instruments import ceilings
from bench.instruments.ceilings import measure_ceilings


def test_no_product_and_no_copy_beats_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "SIZES", (256,))
    monkeypatch.setattr(ceilings, "STREAM_BYTES", 2**26)
    found = measure_ceilings(torch.device("cpu"), seconds=0.1)
    rate = found.operations_per_s["fp32"]
    assert rate is not None
    left, right = torch.randn(256, 256), torch.randn(256, 256)
    began = time.perf_counter()
    for _ in range(20):
        torch.mm(left, right)
    achieved = 20 * 2 * 256**3 / (time.perf_counter() - began)
    assert achieved < 3 * rate  # far over the ceiling would mean that it counts wrongly
    assert found.bytes_per_s is not None
    assert set(found.reasons) == {name for name, value in found.operations_per_s.items() if value is None}
