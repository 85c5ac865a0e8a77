"""The timings of a run as other tools see them: a name, its launches, and what else is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.metrics import METRICS
from bench.results.store import CellRow
from bench.stages import STAGES
from reports.frames.inference import cell_state
from reports.frames.validity import timing_fault
from reports.frames.view import RunView

SUITE = "bench"
"""The entry of `extra_info` that says what a timing's rounds are."""

_OF_CELL = ("infer", "evaluate", "lower", "imported")
"""Kinds of stages whose metrics go with a cell's timing: the first that has a metric says its value."""


@dataclass(frozen=True)
class Timing:
    """A cell's timing, or that of a stage which cells share. `medians_s` has a value for each launch.

    `extra` are metrics by their names, in the units that the names end with.
    """

    name: str
    kind: str
    medians_s: Sequence[float]
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class LeftOut:
    """A cell without a timing, and why."""

    name: str
    reason: str


def timings(view: RunView) -> Iterator[Timing | LeftOut]:
    """Yield the inference of each cell, then each other stage that is timed, once, and what has no timing."""
    told: set[str] = set()
    for cell in view.cells:
        state, reason = cell_state(view, cell) if cell.axes else ("ok", "")
        if state != "ok":
            yield LeftOut(cell.name, f"{state}: {reason}" if reason else state)
        for kind, key in cell.stages.items():
            row = STAGES.known(kind)
            if not row or not row.timed_by:
                continue
            if row.works == "runs" and state == "ok":
                yield timing_of(view, cell, kind) or LeftOut(cell.name, f"{kind}: {view.status(key).state}")
            elif row.works != "runs" and key not in told:
                told.add(key)
                timing = _of_stage(view, view.stages[key].label, kind, key, (key,))
                if timing is not None:
                    yield timing


def timing_of(view: RunView, cell: CellRow, kind: str = "infer") -> Timing | None:
    """Return a cell's timing of one kind, with the metrics of its stages; None where it has none."""
    key = str(cell.stages.get(kind) or "")
    keys = [str(cell.stages[other]) for other in _OF_CELL if cell.stages.get(other)]
    return _of_stage(view, cell.name, kind, key, keys)


def _of_stage(view: RunView, name: str, kind: str, key: str, keys: Sequence[str]) -> Timing | None:
    metric = STAGES.get(kind).timed_by
    medians = view.launch_values(key, metric)
    if not medians or view.invalid(key):
        return None
    reading, fault = view.reading(key, metric), timing_fault(view, key, metric)
    own = {
        **{"run": str(view.run["id"]), "stage": kind, "key": key, "metric": metric, "rounds": "launches"},
        **{"low": reading.low, "high": reading.high, "launches": reading.launches},
        **{"preliminary": reading.preliminary},
        **({"fault": fault} if fault else {}),
    }
    return Timing(name, kind, medians, {SUITE: own, **_metrics(view, keys, metric)})


def _metrics(view: RunView, keys: Sequence[str], without: str) -> dict[str, float]:
    """Return the values of all metrics that these stages know, without curves and what has a qualifier."""
    found: dict[str, float] = {}
    for key in keys:
        for metric in METRICS.values():
            value = None if metric.curve else view.value(key, metric.name)
            if value is not None and metric.name != without:
                found.setdefault(metric.name, value)
    return found
