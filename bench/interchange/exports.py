"""The table of formats that a run is exported to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.errors import BenchError
from bench.interchange import pytest_benchmark
from bench.interchange.exported import Exported
from bench.results.store import Store
from techniques.registry import nearest


@dataclass(frozen=True)
class ExportFormat:
    """A format: `render` is called with a store and a run's id, and raises BenchError where nothing fits."""

    render: Callable[[Store, str], Exported]
    about: str


EXPORTS: Mapping[str, ExportFormat] = {
    pytest_benchmark.NAME: ExportFormat(
        pytest_benchmark.render, "JSON that pytest-benchmark and github-action-benchmark read"
    ),
}
"""The formats by name."""


def export_format(name: str) -> ExportFormat:
    """Return the format of that name; raises BenchError that names the known ones."""
    if name not in EXPORTS:
        near = nearest(name, EXPORTS)
        raise BenchError(f"--format must be one of {', '.join(EXPORTS)}, got {name!r}{near}")
    return EXPORTS[name]
