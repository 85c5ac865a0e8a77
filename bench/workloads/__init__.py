"""The table of workloads: data, model, loss, quality metric, and a target fixed beforehand."""

from __future__ import annotations

from bench.workloads import shipped_rows  # noqa: F401  # tables have them first
from bench.workloads.given_rows import EXPORTED
from bench.workloads.rows import OWN, WorkloadRow
from bench.workloads.table import WORKLOADS

__all__ = ["EXPORTED", "OWN", "WORKLOADS", "WorkloadRow"]
