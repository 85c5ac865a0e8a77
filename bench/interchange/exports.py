"""The table of formats that a run is exported to: those of reports, and those of other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.interchange import mlflow, pytest_benchmark, tensorboard
from bench.interchange.exported import Exported
from bench.results.store import Store
from reports.content import Content, gather
from reports.formats.table import FIGURES, FORMATS, refuse_outside
from techniques.registry import nearest

if TYPE_CHECKING:
    from reports.formats.table import Format


@dataclass(frozen=True)
class ExportFormat:
    """A format: `render` is called with a store and a run's id, and raises BenchError where nothing fits.

    A tool with a store of its own has `send` instead: it enters a run at a place, such as a folder or a URL,
    and says what it entered. `tables` says that the format has tables, of which one may be chosen.
    """

    about: str
    render: Callable[[Store, str], Exported] | None = None
    send: Callable[[Store, str, str], str] | None = None
    tables: bool = False


_OF_TOOLS: Mapping[str, ExportFormat] = {
    pytest_benchmark.NAME: ExportFormat(
        "JSON that pytest-benchmark and github-action-benchmark read", pytest_benchmark.render
    ),
    mlflow.NAME: ExportFormat("runs of an MLflow store: a folder or the URL of a server", send=mlflow.send),
    tensorboard.NAME: ExportFormat(
        "event files of TensorBoard: curves of trainings, cells as hyperparameters", tensorboard.render
    ),
}


def export_formats() -> dict[str, ExportFormat]:
    """Return the formats by name; a plug-in's are among them."""
    of_reports = {
        row.name: ExportFormat(row.about, partial(_report, row), tables=True) for row in FORMATS.rows()
    }
    return {**_OF_TOOLS, **of_reports}


def export_format(name: str, table: str = "") -> ExportFormat:
    """Return the format of that name, of one table if it is named.

    Raises BenchError that names the known formats, and where the format has no tables.
    """
    known = export_formats()
    if name not in known:
        near = nearest(name, known)
        raise BenchError(f"--format must be one of {', '.join(sorted(known))}, got {name!r}{near}")
    found = known[name]
    if not table:
        return found
    if not found.tables:
        raise BenchError(f"--table: the format {name} has no tables; csv, parquet and excel have")
    row = next(row for row in FORMATS.rows() if row.name == name)
    return replace(found, render=partial(_report, row, table=table))


def _report(row: Format, store: Store, run_id: str, table: str = "") -> Exported:
    """Render a run's report in one format."""
    # Who asks for the figures gets them, however many cells there are.
    figures = True if row.name == FIGURES else None if row.draws else False
    content = replace(gather(store, run_id, figures=figures), alone=True)
    files = tuple(row.render(_narrowed(content, table) if table else content))
    if not files:
        raise BenchError(f"run {run_id} has nothing to write as {row.name}")
    for path, _ in files:
        refuse_outside(row, path)
    return Exported(tuple((_without_folder(path, files), data) for path, data in files))


def _narrowed(content: Content, table: str) -> Content:
    """Return a report with one of its tables; raises BenchError where it has none of that name."""
    if table not in content.frames:
        near = nearest(table, content.frames)
        raise BenchError(f"--table must be one of {', '.join(content.frames)}, got {table!r}{near}")
    return replace(
        content,
        frames={table: content.frames[table]},
        grids=tuple(grid for grid in content.grids if grid.name == table),
        short=tuple(grid for grid in content.short if grid.name == table),
    )


def _without_folder(path: str, files: tuple[tuple[str, bytes], ...]) -> str:
    """Leave out the folder that all files of a format share: whoever exports names one."""
    folders = {Path(other).parent for other, _ in files}
    return Path(path).name if len(folders) == 1 else path
