"""The few columns of each table that a terminal has room for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.frames.scores import Score, fastest, optimizer_scores
from reports.frames.view import TRAIN_AXES
from reports.grids.cell import Column, Entry, Row, plain
from reports.grids.grid import Grid, whole_grid
from reports.grids.optimizers import OPTIMIZERS
from reports.grids.run import INFERENCE
from reports.grids.runtimes import RUNTIMES, TITLE, compares_runtimes


def short_grids(frames: Mapping[str, pd.DataFrame]) -> list[Grid]:
    """Return two tables for each workload: a row per optimizer, and a row per compression × backend.

    The second shows the training that reached the target in the least time, its first seed. Where formats are
    the only compressions of a run, it has a row per backend × format × precision instead.
    """
    optimizers, training = frames["optimizers"], frames["training"]
    inference, runtimes = frames["inference"], frames["runtimes"]
    by_formats = compares_runtimes(runtimes) and _formats_alone(runtimes, inference)
    found: list[Grid] = []
    for workload in dict.fromkeys([*training["workload"], *inference["workload"]]):
        own = optimizers[optimizers["workload"] == workload]
        if len(own):
            found.append(whole_grid("optimizers", f"Training to the target: {workload}", _OPTIMIZERS, own))
        if by_formats:
            found.append(_runtimes(workload, runtimes[runtimes["workload"] == workload]))
        else:
            cells = inference[inference["workload"] == workload]
            found.append(_inference(workload, cells, fastest(optimizer_scores(training, workload))))
    return found


def _formats_alone(runtimes: pd.DataFrame, inference: pd.DataFrame) -> bool:
    return set(inference["compression"]) <= {"none", *runtimes["format"]}


def _picked(columns: Sequence[Column], names: Mapping[str, str], brief: Collection[str]) -> Iterator[Column]:
    """Yield some columns of a table under shorter names, those in `brief` with detail where there is any."""
    makers = dict(columns)
    for heading, name in names.items():
        yield name, _one_line(makers[heading], heading in brief)


def _one_line(make: Any, brief: bool) -> Any:
    def entry(row: Row) -> Entry:
        found: Entry = make(row)
        return Entry((found.brief if brief else "") or found.text, sort=found.sort, mark=found.mark)

    return entry


_OPTIMIZERS = tuple(
    _picked(
        OPTIMIZERS,
        {
            "optimizer": "optimizer",
            "seeds that reached the target": "reached",
            "steps to target": "steps",
            "time to target": "time to target",
            "step time": "step time",
            "final quality": "quality",
        },
        brief=("steps to target", "step time"),
    )
)


def _note(flag: str, word: str) -> Column:
    """Mark the best rows by a word, and name the state of those that are not well."""

    def make(row: Row) -> Entry:
        if row["state"] != "ok":
            return Entry(str(row["state"]), mark="bad")
        return Entry(f"◆ {word}" if row[flag] else "", mark="front" if row[flag] else "")

    return "", make


_RUNTIMES = (
    *_picked(
        RUNTIMES,
        {
            **{name: name for name in ("backend", "format", "precision", "batch")},
            "speedup vs eager fp32": "vs eager fp32",
            **{name: name for name in ("latency", "quality", "cosine", "largest error")},
            **{"size on disk": "size", "lowering": "lowering", "load": "load", "memory": "memory"},
        },
        brief=("speedup vs eager fp32",),
    ),
    _note("fastest", "fastest"),
)


def _runtimes(workload: str, frame: pd.DataFrame) -> Grid:
    return whole_grid("runtimes", f"{TITLE}: {workload}", _RUNTIMES, frame[frame["state"] != "skipped"])


def _inference(workload: str, frame: pd.DataFrame, best: Score | None) -> Grid:
    if best:
        # By axes, not by stage key: a cell that was left out may name no stages.
        own = next((row for row in best.rows if row["state"] == "ok"), best.rows[0])
        for axis in TRAIN_AXES.values():
            frame = frame[frame[axis] == own[axis]]
    varying = {
        heading: heading
        for heading, name in (("precision", "precision"), ("batch", "batch_size"))
        if frame[name].nunique() > 1
    }
    measured = {
        "quality": "quality",
        "latency": "latency",
        "speedup vs none on cpu-eager": "vs eager none",
    }
    columns = (
        ("compression", plain("compression")),
        ("backend", plain("backend")),
        *_picked(INFERENCE, {**varying, **measured, "size on disk": "size"}, brief=("latency",)),
        _note("pareto", "Pareto"),
    )
    title = f"Inference: {workload}" + (f", trained with {best.label}" if best else "")
    # What was left out has its reason in the report; here it would only widen a column.
    return whole_grid("inference", title, columns, frame[frame["state"] != "skipped"])
