"""Stages and launches that tests of costs make up: of one workload on one backend, if not told otherwise."""

from __future__ import annotations

from typing import Any

from bench.costs.rates import Rates
from bench.records import PlannedRequest
from bench.results.store import LaunchCost, StageRow

TRAIN = {"workload": "w", "optimizer": "adam", "backend": "b", "precision": "fp32", "batch_size": 8}
LOWERED = {"workload": "w", "backend": "b", "precision": "fp32", "batch_size": 1, "format": None}
FREE = Rates(0, 0, 0, 0, 0, 0, 0, 0)


def stage(kind: str, label: str = "", **settings: Any) -> StageRow:
    """Return a stage of a kind; its label is its key."""
    base = TRAIN if kind in ("train", "step", "compress") else LOWERED
    timed = kind in ("step", "infer")
    request = PlannedRequest(base | settings)
    return StageRow(label or kind, kind, label or kind, timed, (), request)


def cost(kind: str, wall_s: float, **settings: Any) -> LaunchCost:
    """Return what a launch of such a stage took."""
    return LaunchCost(kind, stage(kind, **settings).request.settings, wall_s)
