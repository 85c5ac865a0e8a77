"""`bench history`: one metric of one cell over all runs, with the shifts and slow drifts in it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands import RESULTS, Command, Plugins, Results, StoreUrl
from bench.errors import BenchError
from bench.formatting import counted, format_interval, minute_text, print_table, say
from bench.plugins import load_plugins

if TYPE_CHECKING:
    import pandas as pd

    from bench.regression.history import History
    from bench.results.store import Store

FOLDER = "history"
"""Where the results folder has the files of this command."""

_MAX_LISTED = 40


def history(
    metric: Annotated[
        str | None, typer.Argument(help="A metric, such as latency_s or peak_rss_bytes.")
    ] = None,
    cell: Annotated[
        str | None,
        typer.Argument(help="A cell's name, 'KIND LABEL' of a stage, or the beginning of a stage's key."),
    ] = None,
    last: Annotated[int, typer.Option(min=2, max=500, help="Look at the latest runs only, so many.")] = 200,
    environment: Annotated[
        str,
        typer.Option(help="Series of another environment, by the beginning of the name that a note gives."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    plugin: Plugins = None,
) -> None:
    """Show a metric of a cell over all runs, with shifts and slow drifts that no single run alarms for.

    Without arguments it lists the cells of the store. Writes a table and a figure into the results folder.
    """
    from bench.results.store import Store

    load_plugins(plugin or [])
    store = Store.open(results, store_url or "", create=False)
    if metric is None or cell is None:
        _list(store, metric)
        return
    from bench.regression.history import read_history

    found = read_history(store, metric, cell, last=last, environment=environment)
    folder = _write(found, results)
    if as_json:
        say(json.dumps(found.to_json(), indent=1))
        return
    _print(found)
    say(f"history: {folder}")


COMMANDS = (Command("history", "Compare", history),)


def _list(store: Store, metric: str | None) -> None:
    """Print the cells of the store, most runs first."""
    from bench.metrics import METRICS
    from techniques.registry import nearest

    if metric is not None and metric.partition("[")[0] not in METRICS:
        raise BenchError(f"no metric {metric!r}{nearest(metric, METRICS)}")
    store.find_run(None)  # raises where there is no run at all
    counts = store.cell_counts()
    rows = [(name, str(runs)) for name, runs in list(counts.items())[:_MAX_LISTED]]
    print_table(f"cells of {store.name}", rows, ("cell", "runs"))
    if len(counts) > _MAX_LISTED:
        say(f"... and {counted(len(counts) - _MAX_LISTED, 'more cell')}")
    say(
        f"`bench history {metric or 'METRIC'} CELL` shows one; `bench show CELL` has the names of its metrics"
    )


def _print(found: History) -> None:
    from bench.metrics import metric_named
    from bench.regression.history import change_text

    name = found.metric.partition("[")[0]
    rows = [
        (
            *(point.run_id, minute_text(point.started_s), point.commit or "–"),
            *(format_interval(name, point.value.value, point.value.low, point.value.high),),
            str(point.value.n),
        )
        for point in found.series.points
    ]
    title = f"{found.metric} of {found.record}, {counted(len(rows), 'run')} on {found.series.machine}"
    print_table(title, rows, ("run", "started (UTC)", "commit", "value", "launches"))
    for change in found.series.changes:
        say(change_text(found.metric, change, found.series))
    if not found.series.changes and not any("change points" in note for note in found.notes):
        exact = metric_named(name).kind == "exact"
        say("no change" if exact else "no change found (of series without any, 5 % give a false alarm)")
    for hint in _hints(found):
        say(hint)
    for note in found.notes:
        say(f"note: {note}")


def _hints(found: History) -> Iterator[str]:
    """Yield the command that finds the commits of each change whose revisions are known."""
    for change in found.series.changes:
        before, after = (found.series.points[place].revision for place in (change.before, change.after))
        if not before or not after or before == after:
            continue
        if change.kind == "drift":  # of several commits, none of which may be found on its own
            yield f"its commits: git log --oneline {before[:10]}..{after[:10]}"
        elif found.matrix:
            what = ("--matrix", found.matrix, "--cell", found.record, "--metric", found.metric)
            yield f"to find the commit: {shlex.join(['bench', 'bisect', before[:10], after[:10], *what])}"


def _write(found: History, results: Path) -> Path:
    """Write the table and the figure; return their folder."""
    from bench.files import replace_file
    from bench.results.folder import refuse_links
    from reports.formats.csv import as_csv
    from reports.plots.history import draw_history

    plot = draw_history(found)
    refuse_links(results, f"{FOLDER}/{plot.name}")
    folder = results / FOLDER / plot.name
    for name, data in (
        ("history.csv", as_csv(_frame(found))),
        ("history.png", plot.png),
        ("history.svg", plot.svg),
    ):
        replace_file(folder / name, data)
    return folder


def _frame(found: History) -> pd.DataFrame:
    """Return a row for each run, oldest first, with the change that it is the first run after."""
    import pandas as pd

    content: dict[str, Any] = found.to_json()
    changed = {change["after"]: change for change in content["changes"]}
    rows = [
        {
            **row,
            "change": changed.get(row["run"], {}).get("kind", ""),
            "ratio": changed.get(row["run"], {}).get("ratio", {}).get("value"),
        }
        for row in content["runs"]
    ]
    return pd.DataFrame(rows)
