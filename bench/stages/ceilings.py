"""Measures a device's peak rates, to which the other records are compared."""

from __future__ import annotations

from pathlib import Path

from bench.instruments.ceilings import measure_ceilings
from bench.records import Measurement, Request
from bench.stages.settings import CeilingsSettings
from techniques.backends.accelerators import torch_device


def run(request: Request[CeilingsSettings], folder: Path) -> list[Measurement]:
    """Measure operations a second in each number format, and bytes a second to and from memory."""
    found = measure_ceilings(torch_device(request.device), request.settings.seconds)
    products = [
        Measurement(
            "ceiling_operations_per_s",
            rate,
            qualifier=name,
            method="best product of square matrices, over libraries",
            reason=found.reasons.get(name, ""),
        )
        for name, rate in found.operations_per_s.items()
    ]
    copy = Measurement(
        "ceiling_bytes_per_s",
        found.bytes_per_s,
        method="a copy, read and written",
        reason=found.reasons.get("memory", ""),
    )
    return [*products, copy]
