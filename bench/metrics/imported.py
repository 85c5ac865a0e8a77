"""Metrics of runs that are imported from files of other tools."""

from __future__ import annotations

from bench.metrics.row import Metric

# fmt: off
ROWS = (
    Metric("imported_s", "time", "s", "lower", "sampled", "imported",
           "median time of one call or command, as another tool measured it"),
    Metric("imported_bytes", "size", "bytes", "lower", "sampled", "imported",
           "size of an object, as another tool measured it"),
    Metric("imported_value", "tracked value", "", "neither", "sampled", "imported",
           "a number that another tool tracked: its unit and its better direction are unknown"),
)
# fmt: on
