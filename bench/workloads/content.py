"""Where the model lies that a workload brings as it is."""

from __future__ import annotations

from pathlib import Path

from bench.workloads import WORKLOADS


def content_path(workload: str) -> Path | None:
    """Return the file or folder of the model that a workload names by a path, None for any other."""
    technique = WORKLOADS.parse(workload)
    if not technique.row.content:
        return None
    place = str(technique.settings[technique.row.content])
    place = place.rpartition(":")[0] if ".py:" in place else place
    path = Path(place).expanduser()
    return path if path.exists() else None
