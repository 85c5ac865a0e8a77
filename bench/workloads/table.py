"""The table of workloads, empty until their rows are entered."""

from __future__ import annotations

from bench.workloads.rows import WorkloadRow, WorkloadTable

WORKLOADS = WorkloadTable("workload", WorkloadRow, entry_points="bench.workloads")
