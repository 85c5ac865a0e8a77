"""One record: a cell's stages, or one stage, with each metric and each launch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

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
    launches = store.launches(run_id)

    def record_of(key: str) -> StageRecord:
        own = launches[launches["stage_key"] == key]
        return _stage(stages[key], store.stage_measurements(run_id, key), own)

    cells = {cell.name: cell for cell in store.cells(run_id)}
    if name in cells:
        cell = cells[name]
        keys = [] if cell.skipped else [str(key) for key in cell.stages.values()]
        return Record(name, cell.skipped, tuple(map(record_of, keys)), cell)
    if name in stages:
        stage = stages[name]
        return Record(f"{stage.kind} {stage.label}", "", (record_of(name),), None)
    raise BenchError(f"run {run_id} has no cell or stage {name!r}{nearest(name, cells)}")


def _stage(stage: StageRow, measured: pd.DataFrame, launches: pd.DataFrame) -> StageRecord:
    settings = stage.request.settings
    pairs = settings.items() if isinstance(settings, dict) else ()
    return StageRecord(
        f"{stage.kind}: {stage.label}",
        stage.key[:_SHORT_KEY],
        ", ".join(f"{name}={value}" for name, value in pairs),
        tuple(_metric(row) for row in records(summarize(measured))),
        tuple(_launches(records(launches))),
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
