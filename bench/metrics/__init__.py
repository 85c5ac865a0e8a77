"""The table of metrics, which frames, tables, plots, reports and the regression check all read.

A plug-in adds a row with `METRICS.add`; a package does so through the entry-point group `bench.metrics`.
"""

from __future__ import annotations

from bench.metrics import derived, device, fidelity, imported, inference, model, step, training, tuning
from bench.metrics.row import NAME, Better, Kind, Metric
from bench.metrics.table import MetricTable

__all__ = ["METRICS", "NAME", "Better", "Kind", "Metric", "MetricTable", "metric_named"]

_OF_STAGES = (
    *(*training.ROWS, *tuning.ROWS, *step.ROWS, *model.ROWS),
    *(*fidelity.ROWS, *inference.ROWS, *device.ROWS),
)

METRICS = MetricTable((*_OF_STAGES, *imported.ROWS, *derived.ROWS))


def metric_named(name: str) -> Metric:
    """Return a metric's row; of one that nothing here knows, a row that says so."""
    try:
        return METRICS[name]
    except KeyError:
        return Metric(name, name, "", "neither", "seeded", "any", "not a metric of this version")
