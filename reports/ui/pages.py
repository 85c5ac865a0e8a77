"""Each page of `bench ui` as HTML, from what its URL asks for."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pandas as pd

from bench.errors import BenchError
from bench.formatting import counted, format_interval, minute_text
from bench.metrics import METRICS
from bench.regression.history import change_text, read_history
from bench.regression.side_by_side import compare_runs
from bench.results.repeat import repeat_command
from reports.checks.page import render
from reports.content import content_of
from reports.formats.html import render_html
from reports.formats.page import render_page
from reports.frames.view import records
from reports.plots.history import draw_history
from reports.ui.record import read_record
from reports.ui.records import SEARCHED, read_records, record_rows, run_path
from reports.ui.site import Site
from reports.ui.table import Cell, Query, choices, parse_query, select

if TYPE_CHECKING:
    from starlette.requests import Request

_RUNS = {"run": "run", "matrix": "matrix", "state": "state", "started": "started (UTC)", "commit": "commit"}
_CELLS = {"cell": "cell", "runs": "runs"}
_MARGIN = 0.05
_LAST = 200


def runs(site: Site, request: Request) -> str:
    """Every run of the store, newest first; two and more are compared."""
    with site.store() as store:
        frame = _runs(store.runs())
        name = store.name
    query = parse_query(request.query_params, tuple(_RUNS))
    return _table_page(
        "ui_runs.html.j2",
        f"runs of {name}",
        frame,
        query,
        _RUNS,
        "run",
        lambda page: [*map(_run_row, records(page))],
    )


def _runs(stored: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "run": str(run["id"]),
            "matrix": str(run["matrix"]) + (" (smoke)" if run["request"].get("smoke") else ""),
            "state": str(run["state"]),
            "started": minute_text(float(run["started_s"])),
            "commit": str(run["request"].get("commit") or "")[:10],
        }
        for run in stored.to_dict("records")
    ]
    return pd.DataFrame(rows[::-1], columns=list(_RUNS))


def _run_row(row: dict[str, Any]) -> tuple[Cell, ...]:
    return (Cell(row["run"], run_path(row["run"])), *(Cell(row[name]) for name in list(_RUNS)[1:]))


def run(site: Site, request: Request) -> str:
    """The records of a run: filtered, sorted, a page at a time."""
    with site.store() as store:
        run_id = store.find_run(request.path_params["run"])
        found = site.made(store, run_id, "records", read_records)
    columns = {SEARCHED: "record", **found.columns}
    query = parse_query(request.query_params, tuple(columns))
    return _table_page(
        "ui_run.html.j2",
        run_id,
        found.frame,
        query,
        columns,
        SEARCHED,
        lambda page: record_rows(found, page, run_id),
        choosing=(*found.axes, "state"),
        links=[("whole report", f"{run_path(run_id)}/report")],
    )


def _table_page(
    template: str,
    title: str,
    frame: pd.DataFrame,
    query: Query,
    columns: dict[str, str],
    searched: str,
    rows: Any,
    choosing: tuple[str, ...] = (),
    **values: Any,
) -> str:
    found = select(frame, query, searched)
    return render_page(
        template,
        forms=True,
        title=title,
        query=query,
        columns=columns,
        rows=rows(found.rows),
        found=found,
        counted=counted(found.total, "row"),
        choices=choices(frame, choosing),
        **values,
    )


def record(site: Site, request: Request) -> str:
    """One cell or stage of a run, and the command that measures it again."""
    name = request.query_params.get("name", "")
    with site.store() as store:
        run_id = store.find_run(request.path_params["run"])
        of_run = store.run(run_id)
        METRICS.learn(of_run["request"].get("metrics", ()))
        found = read_record(store, run_id, name)
        url = store.url
    links, repeat = [(run_id, run_path(run_id))], ""
    if found.cell is not None:
        of_latency = urlencode({"metric": "latency_s", "cell": name})
        links.append(("history of its latency", f"/history?{of_latency}"))
        if not found.skipped and not of_run["request"].get("imported"):
            repeat = repeat_command(of_run, found.cell.axes, site.results, url)
    return render_page("ui_record.html.j2", title=found.name, record=found, repeat=repeat, links=links)


def report(site: Site, request: Request) -> str:
    """The run's whole report, as `bench report` writes it."""
    with site.store() as store:
        run_id = store.find_run(request.path_params["run"])
        return site.made(store, run_id, "report", lambda view: render_html(content_of(view)))


def compare(site: Site, request: Request) -> str:
    """Runs side by side, the oldest one's values as the base."""
    with site.store() as store:
        age = {str(run_id): place for place, run_id in enumerate(store.runs()["id"])}
    chosen = sorted(request.query_params.getlist("run"), key=lambda run_id: age.get(run_id, len(age)))
    return render(compare_runs(chosen, site.results, site.store_url, margin=_MARGIN))


def history(site: Site, request: Request) -> str:
    """A metric of a cell over all runs; without a cell, the cells to choose from."""
    metric = request.query_params.get("metric") or "latency_s"
    cell = request.query_params.get("cell", "")
    return _history(site, metric, cell) if cell else _cells(site, request, metric)


def _cells(site: Site, request: Request, metric: str) -> str:
    with site.store() as store:
        counts = store.cell_counts()
    frame = pd.DataFrame(list(counts.items()), columns=list(_CELLS)).astype({"cell": str})
    asked = {name: value for name, value in request.query_params.items() if name != "metric"}

    def rows(page: pd.DataFrame) -> list[tuple[Cell, ...]]:
        return [
            (Cell(cell, "/history?" + urlencode({"metric": metric, "cell": cell})), Cell(str(count)))
            for cell, count in zip(page["cell"], page["runs"], strict=True)
        ]

    title = "cells over all runs"
    return _table_page(
        "ui_run.html.j2", title, frame, parse_query(asked, tuple(_CELLS)), _CELLS, "cell", rows, links=[]
    )


def _history(site: Site, metric: str, cell: str) -> str:
    with site.store() as store:
        if metric.partition("[")[0] not in METRICS:
            raise BenchError(f"no metric {metric!r}")
        found = read_history(store, metric, cell, last=_LAST)
    plot = draw_history(found)
    name = metric.partition("[")[0]
    points = [
        (
            Cell(point.run_id, run_path(point.run_id)),
            Cell(minute_text(point.started_s)),
            Cell(point.commit or "–"),
            Cell(format_interval(name, point.value.value, point.value.low, point.value.high)),
            Cell(str(point.value.n)),
        )
        for point in reversed(found.series.points)
    ]
    return render_page(
        "ui_history.html.j2",
        images=True,
        title=f"{metric} of {found.record}",
        picture=base64.b64encode(plot.png).decode(),
        plot=plot,
        rows=points,
        changes=[change_text(metric, change, found.series) for change in found.series.changes],
        notes=found.notes,
        links=[("all cells", "/history")],
    )
