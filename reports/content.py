"""The content of a report, before it is written in any format."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from bench.collector import collector
from bench.formatting import visible
from bench.regression.finding import Comparison
from bench.regression.limits import limit_lines
from reports.frames.choices import Choices, choices_of
from reports.frames.limits import limits_of, limits_table
from reports.frames.run import read_frames
from reports.frames.view import RunView, read
from reports.grids.compression import compression_grids
from reports.grids.fidelity import fidelity_grids
from reports.grids.generation import generation_grids
from reports.grids.grid import Grid
from reports.grids.large import MAX_ROWS
from reports.grids.limits import limits_grid
from reports.grids.optimizers import optimizer_grids
from reports.grids.run import all_grids, environment_grid, problem_grids
from reports.grids.runtimes import runtimes_grids
from reports.grids.sensitivity import sensitivity_grids
from reports.grids.short import short_grids
from reports.grids.steps import steps_grids
from reports.plots import Plot, draw_all
from reports.prose.answers import Answer, answers
from reports.prose.notes import clipping_notes, notes
from reports.prose.overheads import overhead_text
from reports.prose.predicted import estimate_summary, estimate_text
from reports.prose.summary import summary, wrapped
from reports.prose.verdict import verdict

if TYPE_CHECKING:
    from bench.results.store import Store


@dataclass(frozen=True)
class Content:
    """A report's parts. `frames` hold raw numbers by table name, `grids` the same for people.

    `captions` are the texts above grids, by the grid's name. `limits` says which limits of the matrix are
    kept. `short` are the tables for a terminal, `last_lines` the lines under them: data left out, overhead,
    predicted and actual cost, limits. `summary` is all of it in a few lines of at most 100 columns.
    `choices` are those of each workload, none of a smoke run, and `view` is the run that all comes from.
    `left_out` says why neither figures nor raw tables are written as files, and how to get them, where a run
    has too many cells.
    A report that is `alone` is written in one format only, without the files of the others next to it.
    """

    title: str
    about: tuple[tuple[str, str], ...]
    verdict: tuple[str, ...]
    answers: tuple[Answer, ...]
    frames: Mapping[str, pd.DataFrame]
    grids: tuple[Grid, ...]
    problems: tuple[Grid, ...]
    captions: Mapping[str, str]
    limits: Comparison
    environment: Grid
    plots: tuple[Plot, ...]
    short: tuple[Grid, ...]
    last_lines: tuple[str, ...]
    view: RunView
    choices: tuple[Choices, ...] = ()
    summary: tuple[str, ...] = ()
    left_out: str = ""
    alone: bool = False


def gather(store: Store, run_id: str, *, complete: bool = False, figures: bool | None = None) -> Content:
    """Read a run and make all parts of its report; a run that is `complete` only lacks this report.

    Without `figures` there are no plots, which take most of the time. By default only a run of more cells
    than its tables show has none: its page draws charts of its own.
    """
    # A large run is millions of objects, and none of them is garbage.
    with collector(on=False):
        view = read(store, run_id)
    return content_of(view, complete=complete, figures=figures)


def content_of(view: RunView, *, complete: bool = False, figures: bool | None = None) -> Content:
    """Make all parts of the report of a run that was read; see `gather`."""
    with collector(on=False):
        content = _without_figures(view, complete)
    left_out = _left_out_of_files(view, content.frames) if figures is None else ""
    if left_out:
        return replace(
            content,
            left_out=left_out,
            last_lines=(*content.last_lines, left_out),
            summary=(*content.summary, *wrapped(left_out)),
        )
    if view.smoke or figures is False:
        return content
    # Each figure is megabytes of garbage in cycles.
    with collector(on=True):
        return replace(content, plots=tuple(draw_all(content.frames, view)))


def _without_figures(view: RunView, complete: bool) -> Content:
    frames = read_frames(view)
    limits = limits_of(view, frames)
    if limits.findings:
        frames["limits"] = limits_table(limits)
    choices = () if view.smoke else tuple(choices_of(view, frames))
    captions, last_lines, brief = _lines(view, frames, limits)
    return Content(
        title=visible(f"{view.run['matrix']}: {view.run['id']}"),
        about=_about(view, complete),
        verdict=tuple(verdict(view, frames, choices)),
        frames=frames,
        answers=() if view.smoke else tuple(answers(frames)),
        grids=tuple(grid for grid in _grids(frames, smoke=view.smoke) if grid.rows),
        problems=tuple(problem_grids(frames["problems"])),
        captions=captions,
        limits=limits,
        environment=environment_grid(view),
        plots=(),
        short=() if view.smoke else tuple(short_grids(frames)),
        last_lines=tuple(last_lines),
        view=view,
        choices=choices,
        summary=(*summary(view, frames, choices), *(part for line in brief for part in wrapped(line))),
    )


def _lines(
    view: RunView, frames: Mapping[str, pd.DataFrame], limits: Comparison
) -> tuple[Mapping[str, str], Sequence[str], Sequence[str]]:
    """Return the captions of tables, the lines under a terminal's tables, and those that are in brief."""
    noted = [*notes(view), *(() if view.smoke else clipping_notes(frames["training"]))]
    overhead, estimated, kept = overhead_text(view).splitlines(), estimate_summary(view), limit_lines(limits)
    captions = {"overhead": overhead[0], "estimate": estimated, "limits": next(iter(kept), "")}
    predicted = estimated.partition(";")[0].partition(". ")[0]
    whole = (*noted, *overhead, *estimate_text(view).splitlines(), *kept)
    return captions, whole, (*noted, overhead[0], predicted, *kept)


def _left_out_of_files(view: RunView, frames: Mapping[str, pd.DataFrame]) -> str:
    """Say that raw tables and figures are left out, and how to get them; nothing where cells are few."""
    cells = len(frames["inference"])
    if view.smoke or cells <= MAX_ROWS:
        return ""
    export = shlex.join(["bench", "export", str(view.run["id"]), "--format"])
    return (
        f"No raw tables and no figures in files: the run has {cells:,} cells, more than {MAX_ROWS:,}. "
        f"To write every row: {export} csv --to tables/ (or parquet, json). "
        f"To draw the figures: {export} figures --to plots/"
    )


def _grids(frames: Mapping[str, pd.DataFrame], *, smoke: bool) -> list[Grid]:
    grids = [*all_grids(frames), *generation_grids(frames)]
    limits = [limits_grid(frames["limits"])] if "limits" in frames else []
    # Costs and times of a smoke run are not worth comparing.
    if smoke:
        return [*optimizer_grids(frames), *(grid for grid in grids if grid.name != "estimate")]
    compared = [*runtimes_grids(frames), *compression_grids(frames), *fidelity_grids(frames)]
    compared += optimizer_grids(frames)
    sensitive = sensitivity_grids(frames["sensitivity"]) if "sensitivity" in frames else []
    return [*limits, *compared, *sensitive, *steps_grids(frames), *grids]


def _about(view: RunView, complete: bool) -> tuple[tuple[str, str], ...]:
    started, finished = view.run["started_s"], view.run["finished_s"]
    unfinished = "with this report" if complete else "not yet: the numbers below are incomplete"
    ended = _moment(finished) if finished else unfinished
    if finished and finished < started:
        ended += " (the system clock was set back during the run; durations are not affected)"
    return (
        ("run", str(view.run["id"])),
        ("command", str(view.run["command"])),
        ("state", "finished" if complete else str(view.run["state"])),
        ("started", _moment(started)),
        ("finished", ended),
        *(("note", str(note)) for note in view.run["request"].get("notes", ())),
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
