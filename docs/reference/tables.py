"""The page of tables: what each column is, and its unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from bench.records import PlannedRequest
from bench.regression.limits import judged
from bench.results.store import CellRow, StageRow, Store
from docs.reference.markdown import assemble, code, prose, table
from reports.frames.columns import TABLES, about, unit_in
from reports.frames.fidelity import (
    attribution_table,
    fidelity_table,
    gaps_table,
    groups_table,
    robustness_table,
)
from reports.frames.generation import generation_table
from reports.frames.limits import limits_table
from reports.frames.loading import load
from reports.frames.record_columns import RECORDS
from reports.frames.requests import requests_table
from reports.frames.run import read_frames
from reports.frames.sensitivity import sensitivity
from reports.frames.tuning import trials_table
from reports.frames.view import INFER_AXES, TRAIN_AXES, read

INTRODUCTION = """The tables of a report, and the records of the store. `bench.load(RUN, kind="inference")`
returns one as a pandas frame; a run's report has them as `tables/*.csv` and `tables/*.parquet`, and
`bench export` writes them as Excel, JSON or LaTeX too. [Use the numbers](../guides/numbers.md) has examples.

- Units are in the names of columns: `_s` seconds, `_bytes` bytes, `_points` percentage points, `_share`
  shares of 1. A frame of `bench.load` has them in `attrs["units"]`, Parquet and JSON files with each column.
- Unknown is empty in CSV, `None` or `NaN` in pandas, `null` in JSON.
- A run has further columns for qualities that its workloads measure and for metrics of plug-ins.
  [Metrics](metrics.md) has them all."""

_WHOLE = ("devices", "seed", "batch_size", "train.batch_size")
"""Axes of integers."""

_RUN = "20260101-000000-empty"


def page() -> str:
    """Return the page."""
    with TemporaryDirectory() as folder:
        found = _frames(Path(folder))
    parts = ["## Tables of a report", *_sections(found, TABLES), "## Records of the store"]
    return assemble("Tables", INTRODUCTION, *parts, *_sections(found, RECORDS))


def _sections(frames: Mapping[str, pd.DataFrame], tables: Mapping[str, str]) -> Iterable[str]:
    for name, row in tables.items():
        cells = [
            (code(column), unit_in(name, column), prose(about(name, column)))
            for column in map(str, frames[name].columns)
        ]
        yield f"### {name}\n\nA row is {row}.\n\n{table(('column', 'unit', 'what it is'), cells)}"


def _frames(folder: Path) -> dict[str, pd.DataFrame]:
    """Return every table of a run in which nothing has been measured."""
    kinds = ("train", "compress", "lower", "evaluate", "infer", "step")
    stages = [
        StageRow(str(number) * 64, kind, kind, False, (), PlannedRequest())
        for number, kind in enumerate(kinds)
    ]
    axes = {**dict.fromkeys({**TRAIN_AXES, **INFER_AXES}, "none"), **dict.fromkeys(_WHOLE, 1)}
    cell = CellRow("cell", axes, {stage.kind: stage.key for stage in stages})
    store = Store.open(folder)
    store.start_run(_RUN, "", "empty", "bench run", {}, stages, [cell])
    view = read(store, _RUN)
    found = {
        "trials": trials_table(view),
        "generation": generation_table(view),
        "requests": requests_table(view),
        "sensitivity": sensitivity(view).ranges,
        "sensitivity_points": sensitivity(view).points,
        "limits": limits_table(judged(_RUN, ())),
        "fidelity": fidelity_table(view, []),
        "groups": groups_table([]),
        "gaps": gaps_table([]),
        "robustness": robustness_table(view, []),
        "attributions": attribution_table(view, []),
        **read_frames(view),
    }
    store.close()
    return found | {kind: load(_RUN, folder, store="", kind=kind) for kind in RECORDS}
