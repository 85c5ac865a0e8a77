"""Ceilings against what must hold on any machine, and the roofline against points worked out by hand."""

from __future__ import annotations

import time

import pytest
import torch

from bench.instruments import ceilings
from bench.instruments.ceilings import Ceilings, measure_ceilings, roofline

KNOWN = Ceilings({"fp32": 100.0, "int8": None}, bytes_per_s=10.0, reasons={})


def test_a_call_with_many_operations_a_byte_is_bound_by_compute() -> None:
    point = roofline(operations=500, bytes_moved=10, seconds=10, format_="fp32", ceilings=KNOWN)
    assert point is not None
    assert (point.operations_per_s, point.operations_per_byte, point.binds) == (50, 50, "compute")
    assert point.share == point.utilization == 0.5


def test_a_call_with_few_operations_a_byte_is_bound_by_memory() -> None:
    point = roofline(operations=50, bytes_moved=50, seconds=10, format_="fp32", ceilings=KNOWN)
    assert point is not None
    # One operation a byte: memory allows 10 a second, the arithmetic 100.
    assert (point.binds, point.share, point.utilization) == ("memory", 0.5, 0.05)


def test_without_a_ceiling_there_is_no_point() -> None:
    assert roofline(1, 1, 1, "int8", KNOWN) is None


def test_no_product_and_no_copy_beats_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "SIZES", (256,))
    monkeypatch.setattr(ceilings, "STREAM_BYTES", 2**26)
    found = measure_ceilings(torch.device("cpu"), seconds=0.1)
    rate = found.operations_per_s["fp32"]
    assert rate is not None and found.bytes_per_s > 0
    left, right = torch.randn(256, 256), torch.randn(256, 256)
    began = time.perf_counter()
    for _ in range(20):
        torch.mm(left, right)
    achieved = 20 * 2 * 256**3 / (time.perf_counter() - began)
    assert achieved < 3 * rate  # far over the ceiling would mean that it counts wrongly
    assert set(found.reasons) == {name for name, value in found.operations_per_s.items() if value is None}
