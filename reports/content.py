"""Everything a report says about a run, before it is written in any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from reports import tables
from reports.grids import Grid, all_grids, environment_grid, problem_grids
from reports.overheads import overhead_text
from reports.plots import Plot, draw_all
from reports.verdict import verdict
from reports.view import RunView, read

if TYPE_CHECKING:
    from bench.store import Store


@dataclass(frozen=True)
class Content:
    """A report's parts. `frames` hold raw numbers by table name, `grids` the same for people."""

    title: str
    about: tuple[tuple[str, str], ...]
    verdict: tuple[str, ...]
    frames: Mapping[str, pd.DataFrame]
    grids: tuple[Grid, ...]
    problems: tuple[Grid, ...]
    overhead: str
    environment: Grid
    plots: tuple[Plot, ...]


def gather(store: Store, run_id: str) -> Content:
    """Read a run and make all parts of its report."""
    view = read(store, run_id)
    frames = read_frames(view)
    return Content(
        title=f"{view.run['matrix']}: {run_id}",
        about=_about(view),
        verdict=tuple(verdict(frames)),
        frames=frames,
        grids=tuple(grid for grid in all_grids(frames) if grid.rows),
        problems=tuple(problem_grids(frames["problems"])),
        overhead=overhead_text(view),
        environment=environment_grid(view),
        plots=tuple(draw_all(frames)),
    )


def read_frames(view: RunView) -> dict[str, pd.DataFrame]:
    """Return all tables of a run by name."""
    return {
        "training": tables.training_table(view),
        "curves": tables.curves(view),
        "compression": tables.compression_table(view),
        "inference": tables.inference_table(view),
        "memory": tables.memory_table(view),
        "problems": tables.problems_table(view),
        "overhead": tables.overhead_table(view),
    }


def _about(view: RunView) -> tuple[tuple[str, str], ...]:
    started, finished = view.run["started_s"], view.run["finished_s"]
    ended = _moment(finished) if finished else "not yet: numbers are missing below"
    if finished and finished < started:
        ended += " (the clock was set back meanwhile; durations do not go by it)"
    return (
        ("run", str(view.run["id"])),
        ("command", str(view.run["command"])),
        ("state", str(view.run["state"])),
        ("started", _moment(started)),
        ("finished", ended),
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
