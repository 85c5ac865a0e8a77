"""`bench.load`: records and tables of runs as pandas frames, from either kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.comparable import accelerator_names, cpu_model
from bench.analysis.summary import summarize
from bench.errors import BenchError
from bench.metrics import METRICS, metric_named
from bench.results.places import place_of
from bench.results.store import Store, address_of
from reports.frames.columns import TABLES, unit_in
from reports.frames.limits import limits_of, limits_table
from reports.frames.record_columns import RECORDS
from reports.frames.run import read_frames
from reports.frames.view import read
from techniques.registry import nearest

LATEST = "latest"


def load(
    run: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    results: str | Path = "results",
    store: str | None = None,
    kind: str = "measurements",
) -> pd.DataFrame:
    """Return records or a table of runs as a pandas frame: of all runs, or of those that `run` names.

    `run` is a run's id or its beginning, "latest", the path of a run's folder or of a results folder (all of
    its runs), or a list of these. `store` is the URL of a shared store; by default it is that of the
    environment variable `BENCH_STORE`, else a file in the folder `results`.

    `kind` says what a row is. Of the store's records: "measurements" (launch × metric), "launches", "summary"
    (cell × metric, with the interval over launches), "cells" or "runs". Of the tables of reports, a row for
    each thing measured: "inference", "training", "tradeoff" and so on; the column `run_id` comes first.
    Columns have types that Parquet keeps, and their units are in `attrs["units"]`. Raises BenchError where
    there is no such run or kind, or the store cannot be read.
    """
    reader = _reader(kind)
    frames: list[pd.DataFrame] = []
    url = address_of(store)
    for folder, names in _places(run, Path(results), url).items():
        with closing(Store.open(folder, url, create=False)) as opened:
            frames += [reader(opened, run_id) for run_id in _ids(opened, names)]
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    found = pd.concat(filled, ignore_index=True)
    units = {str(column): unit_in(kind, str(column)) for column in _numbers(found)}
    found.attrs["units"] = {column: unit for column, unit in units.items() if unit}
    return found


def _reader(kind: str) -> Callable[[Store, str], pd.DataFrame]:
    known = (*RECORDS, *TABLES)
    if not isinstance(kind, str) or kind not in known:
        near = nearest(str(kind), known)
        raise BenchError(f"bench.load: kind must be one of {', '.join(known)}, got {kind!r}{near}")
    return _READERS.get(kind) or (lambda store, run_id: _table(store, run_id, kind))


def _places(run: Any, results: Path, url: str) -> Mapping[Path, list[str]]:
    """Return the runs that are meant by their results folder; an empty list stands for all of a folder."""
    if run is None:
        return {results: []}
    named = [run] if isinstance(run, str | PathLike) else run
    if not isinstance(named, Iterable) or not all(
        isinstance(name, str | PathLike) and str(name) for name in named
    ):
        raise BenchError(
            f"bench.load: run must be a run's id, {LATEST!r}, a path or a list of these, got {run!r}"
        )
    found: dict[Path, list[str]] = {}
    whole: set[Path] = set()
    for name in map(str, named):
        folder, id_ = place_of(name, results, url)
        own = found.setdefault(folder, [])
        if id_:
            own.append(id_)
        else:
            whole.add(folder)
    if not found:
        raise BenchError("bench.load: run must name a run, got an empty list")
    return {folder: [] if folder in whole else names for folder, names in found.items()}


def _ids(store: Store, names: Sequence[str]) -> list[str]:
    """Return the ids of the runs that are meant, in the order they were entered; all where none is named."""
    latest = store.find_run(None)  # raises where there is none at all
    entered = [str(run_id) for run_id in store.runs()["id"]]
    found = {latest if name == LATEST else store.find_run(name) for name in names}
    return [run_id for run_id in entered if run_id in found] if names else entered


def _table(store: Store, run_id: str, kind: str) -> pd.DataFrame:
    """Return a table of a run's report; an empty one where the run has none of that name."""
    view = read(store, run_id)
    frames = read_frames(view)
    limits = kind == "limits"
    found = limits_table(limits_of(view, frames)) if limits else frames.get(kind, pd.DataFrame())
    found.insert(0, "run_id", run_id)
    return found


def _numbers(frame: pd.DataFrame) -> Iterable[Any]:
    """Return the columns that hold numbers: a unit says nothing of a text."""
    for name, column in frame.items():
        known = column.dropna()
        if len(known) and not isinstance(known.iloc[0], str):
            yield name


def _runs(store: Store, run_id: str) -> pd.DataFrame:
    row = store.run(run_id)
    request = row["request"]
    return pd.DataFrame(
        {
            "run_id": [run_id],
            "matrix": [row["matrix"]],
            "state": [row["state"]],
            "host": [row["host"]],
            "started": _times([row["started_s"]]),
            "finished": _times([row["finished_s"]]),
            "smoke": [bool(request.get("smoke", False))],
            "filter": [request.get("filter", "")],
            "command": [row["command"]],
        }
    )


def _cells(store: Store, run_id: str) -> pd.DataFrame:
    host = store.run(run_id)["host"]
    rows = []
    for cell in store.cells(run_id):
        axes = {name.replace(".", "_"): value for name, value in cell.axes.items()}
        keys = {f"{kind}_key": key for kind, key in cell.stages.items()}
        first = {"run_id": run_id, "host": host, "cell": cell.name}
        rows.append({**first, **axes, "skipped": cell.skipped, **keys})
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["run_id", "host", "cell", "skipped"])
    # An axis of integers stays one where another run or cell lacks it.
    whole = {name for row in rows for name, value in row.items() if isinstance(value, int)}
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _launches(store: Store, run_id: str) -> pd.DataFrame:
    stages = {stage.key: stage for stage in store.stages(run_id)}
    environments = store.environments(run_id)
    frame = store.launches(run_id).rename(columns={"id": "launch_id"})
    frame.insert(0, "run_id", frame.pop("run_id"))
    frame.insert(1, "host", store.run(run_id)["host"])
    of_stage = [stages[key] for key in frame["stage_key"]]
    seen = [environments.get(id_, {}) for id_ in frame["environment_id"]]
    return frame.drop(columns=["dynamic", "start_s"]).assign(
        kind=[stage.kind for stage in of_stage],
        label=[stage.label for stage in of_stage],
        started=_times(frame["start_s"]),
        cpu=[cpu_model(environment) for environment in seen],
        accelerator=[", ".join(accelerator_names(environment)) for environment in seen],
    )


def _measurements(store: Store, run_id: str) -> pd.DataFrame:
    run = store.run(run_id)
    METRICS.learn(run["request"].get("metrics", ()))
    frame = _with_units(store.measurements(run_id))
    frame.insert(0, "run_id", run_id)
    frame.insert(1, "host", run["host"])
    numbers = ("value", "low", "high")
    return frame.assign(n=frame["n"].astype("Int64"), **{name: frame[name].astype(float) for name in numbers})


def _summary(store: Store, run_id: str) -> pd.DataFrame:
    """Join what each stage came to with the cells that use it."""
    METRICS.learn(store.run(run_id)["request"].get("metrics", ()))
    values = _with_units(summarize(store.measurements(run_id)))
    cells = _cells(store, run_id)
    kept = [name for name in cells.columns if not name.endswith("_key")]
    cells = cells[cells["skipped"] == ""]
    keys = [name for name in cells.columns if name.endswith("_key")]
    stages = cells.melt(kept, keys, "stage", "stage_key").dropna(subset="stage_key").drop(columns="stage")
    own = stages.drop(columns="skipped").drop_duplicates().astype({"stage_key": str})
    return own.merge(values.astype({"stage_key": str}), on="stage_key")


_READERS: dict[str, Callable[[Store, str], pd.DataFrame]] = {
    "measurements": _measurements,
    "launches": _launches,
    "summary": _summary,
    "cells": _cells,
    "runs": _runs,
}


def _times(seconds: Iterable[Any]) -> Any:
    """Return seconds since the epoch as points in time, of UTC."""
    return pd.to_datetime(pd.Series(seconds, dtype=float), unit="s", utc=True)


def _with_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Put the unit of each row's metric next to it."""
    place = list(frame.columns).index("qualifier") + 1
    frame.insert(place, "unit", [metric_named(name).unit for name in frame["metric"]])
    return frame
