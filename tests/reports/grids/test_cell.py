"""Ranges of values are written with one unit where both ends share it."""

from __future__ import annotations

import pytest

from reports.grids.cell import bounds


@pytest.mark.parametrize(
    ("metric", "low", "high", "text"),
    [
        ("latency_s", 34.1e-6, 36.2e-6, "34.1 to 36.2 µs"),
        ("latency_s", 900e-9, 36.2e-6, "900 ns to 36.2 µs"),
        ("quality", 0.846, 0.936, "84.60 to 93.60 %"),
    ],
)
def test_a_range_has_its_unit_once(metric: str, low: float, high: float, text: str) -> None:
    assert bounds(metric, low, high) == text
