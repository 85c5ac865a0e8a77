"""One record: a cell's stages, or one stage, with each metric and each launch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.analysis.summary import summarize
from bench.errors import BenchError
from bench.formatting import format_interval, format_value
from bench.metrics import metric_named
from bench.results.store import CellRow, StageRow, Store
from reports.frames.view import number, records
from reports.ui.table import Cell
from techniques.registry import nearest

_SHORT_KEY = 12


@dataclass(frozen=True)
class StageRecord:
    """A stage for people: its key and settings, what its launches measured, and the launches."""

    title: str
    key: str
    settings: str
    metrics: tuple[tuple[Cell, ...], ...]
    launches: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Record:
    """A cell or a stage: its name, why it was skipped, its stages, and the cell where it is one."""

    name: str
    skipped: str
    stages: tuple[StageRecord, ...]
    cell: CellRow | None


def read_record(store: Store, run_id: str, name: str) -> Record:
    """Read a cell by its name or a stage by its key; raises BenchError where the run has neither."""
    stages = {stage.key: stage for stage in store.stages(run_id)}
    cells = {cell.name: cell for cell in store.cells(run_id)}
    if name in cells:
        cell = cells[name]
        keys = [] if cell.skipped else [str(key) for key in cell.stages.values()]
        return Record(name, cell.skipped, tuple(_stage(store, run_id, stages[key]) for key in keys), cell)
    if name in stages:
        stage = stages[name]
        return Record(f"{stage.kind} {stage.label}", "", (_stage(store, run_id, stage),), None)
    raise BenchError(f"run {run_id} has no cell or stage {name!r}{nearest(name, cells)}")


def _stage(store: Store, run_id: str, stage: StageRow) -> StageRecord:
    measured = store.stage_measurements(run_id, stage.key)
    launches = store.launches(run_id)
    own = launches[launches["stage_key"] == stage.key]
    settings = stage.request.settings
    pairs = settings.items() if isinstance(settings, dict) else ()
    return StageRecord(
        f"{stage.kind}: {stage.label}",
        stage.key[:_SHORT_KEY],
        ", ".join(f"{name}={value}" for name, value in pairs),
        tuple(_metric(row) for row in records(summarize(measured))),
        tuple(_launches(records(own))),
    )


def _metric(row: dict[str, Any]) -> tuple[Cell, ...]:
    metric, qualifier = row["metric"], row["qualifier"]
    value = number(row["value"])
    low, high = number(row["low"]), number(row["high"])
    return (
        Cell(metric + (f"[{qualifier}]" if qualifier else ""), title=metric_named(metric).label),
        Cell(format_value(metric, value) if low is None else format_interval(metric, value, low, high)),
        Cell(str(row["launches"])),
        Cell(row["method"] or ""),
        Cell(row["reason"] or ""),
    )


def _launches(rows: list[dict[str, Any]]) -> Iterator[tuple[Cell, ...]]:
    for row in rows:
        reused = " (reused)" if row["reused"] else ""
        yield (
            Cell(str(row["round"] + 1)),
            Cell(f"{row['state']}{reused}", mark="" if row["state"] == "ok" else "bad"),
            Cell(format_value("training_s", row["body_s"])),
            Cell(row["disturbed"] or ""),
            Cell(row["reason"] or ""),
        )
