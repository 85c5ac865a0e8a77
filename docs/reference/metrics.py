"""The page of metrics, from their table."""

from __future__ import annotations

from bench.metrics import METRICS
from docs.reference.markdown import assemble, code, prose, table

INTRODUCTION = """Every number that a stage measures is one of these. Tables, plots, CSV files and `bench
check` read the same rows.

- **kind**: *exact* is the same on every machine; *seeded* is the same wherever seed, libraries and hardware
  are; *sampled* differs from launch to launch and has an interval.
- **better**: the direction that `bench check` calls an improvement.
- **stage**: which kind of stage measures it; *any* where several do.

[Add a metric of your own](../guides/metric.md) from one file."""


def page() -> str:
    """Return the page."""
    stages: dict[str, list[tuple[str, ...]]] = {}
    for row in METRICS.values():
        cells = (code(row.name), prose(row.label), row.unit, row.better, row.kind, prose(row.about))
        stages.setdefault(row.stage, []).append(cells)
    header = ("name", "label", "unit", "better", "kind", "what it is")
    parts = [f"## Stage: {stage}\n\n{table(header, rows)}" for stage, rows in stages.items()]
    return assemble("Metrics", INTRODUCTION, *parts)
