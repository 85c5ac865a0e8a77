"""Nameplates: known answers by the names that drivers give, and no answer where a name is not known."""

from __future__ import annotations

import pytest

from bench.analysis import peaks
from bench.analysis.peaks import _PEAKS, Peak, nameplate


@pytest.mark.parametrize(
    ("name", "format_", "tera", "gigabytes"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4, 3350),
        ("NVIDIA H100 PCIe", "bf16", 756.5, 2000),
        ("NVIDIA H100 NVL", "fp32", 60.0, 3900),
        ("NVIDIA H200", "fp8", 1978.9, 4800),
        ("NVIDIA H200 NVL", "fp8", 1670.5, 4800),
        ("NVIDIA A100-SXM4-40GB", "tf32", 156.0, 1555),
        ("NVIDIA A100-SXM4-80GB", "int8", 624.0, 2039),
        ("NVIDIA A100 80GB PCIe", "fp32", 19.5, 1935),
        ("Tesla T4", "fp16", 65.0, 320),
        ("Tesla V100-SXM2-16GB", "fp16", 125.0, 900),
        ("Tesla V100S-PCIE-32GB", "fp32", 16.4, 1134),
        ("NVIDIA L4", "bf16", 121.0, 300),
        ("NVIDIA L40S", "fp32", 91.6, 864),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2, 1008),
        ("AMD Instinct MI300X OAM", "fp16", 1307.4, 5325),
        ("TPU v5 lite", "bf16", 197.0, 819),
        ("TPU v5", "bf16", 459.0, 2765),
    ],
)
def test_a_device_has_what_its_data_sheet_says(name, format_, tera, gigabytes):
    peak = nameplate(name)
    assert peak is not None and peak.source
    assert peak.operations_per_s[format_] == pytest.approx(1e12 * tera)
    assert peak.bytes_per_s == pytest.approx(1e9 * gigabytes)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GH200 480GB",
        "NVIDIA A10G",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "Tesla K80",
        "",
    ],
)
def test_a_slice_a_sister_or_a_stranger_has_no_nameplate(name):
    assert nameplate(name) is None


def test_of_patterns_that_fit_the_longest_wins(monkeypatch):
    rows = {pattern: Peak({}, 1.0, pattern) for pattern in ("* H200 NVL", "* H200*", "NVIDIA *")}
    monkeypatch.setattr(peaks, "_PEAKS", rows)
    assert nameplate("NVIDIA H200 NVL").source == "* H200 NVL"
    assert nameplate("NVIDIA H200").source == "NVIDIA *"


def test_h100_on_a_card_is_not_taken_for_the_one_on_a_board():
    card, board = nameplate("NVIDIA H100 PCIe"), nameplate("NVIDIA H100 80GB HBM3")
    assert card is not None and board is not None
    assert card.bytes_per_s < board.bytes_per_s
    assert all(rate < board.operations_per_s[name] for name, rate in card.operations_per_s.items())


def test_narrower_numbers_are_never_slower_than_wider_ones():
    order = ("fp32", "tf32", "bf16", "fp8")
    for pattern, peak in _PEAKS.items():
        rates = [peak.operations_per_s[name] for name in order if name in peak.operations_per_s]
        assert rates == sorted(rates), pattern
        assert peak.operations_per_s.get("int8", rates[-1]) >= peak.operations_per_s.get("bf16", 0), pattern
