"""What goes into the store's tables and comes out of them, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.records import Measurement, PlannedRequest


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage as it is planned in a run."""

    key: str
    kind: str
    label: str
    timed: bool
    parents: tuple[str, ...]
    request: PlannedRequest


@dataclass(frozen=True, slots=True)
class CellRow:
    """A cell: its axes, the keys of its stages by kind, and why it was left out, if it was."""

    name: str
    axes: Mapping[str, Any]
    stages: Mapping[str, Any]
    skipped: str = ""


@dataclass(frozen=True)
class LaunchCount:
    """Launches of a stage that ended well, and how many of them were disturbed."""

    good: int
    disturbed: int


def measurement_row(launch_id: int, measurement: Measurement) -> dict[str, Any]:
    """Return a measurement as a row of the table `measurements`."""
    return {
        "launch_id": launch_id,
        "metric": measurement.metric,
        "qualifier": measurement.qualifier,
        "value": measurement.value,
        "low": measurement.low,
        "high": measurement.high,
        "n": measurement.n,
        "method": measurement.method,
        "reason": measurement.reason,
        "samples": measurement.samples,
    }
