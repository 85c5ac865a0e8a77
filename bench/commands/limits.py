"""`bench limits`: hold a run against the limits of its matrix, or of another."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunId, StoreUrl
from bench.commands.outputs import Json, Junit, Markdown, Strict, deliver
from bench.errors import BenchError
from bench.plugins import load_plugins


def limits(
    run_id: RunId = None,
    matrix: Annotated[
        str | None,
        typer.Option("--matrix", "-m", help="Take the limits of this matrix instead of the run's own."),
    ] = None,
    json: Json = None,
    junit: Junit = None,
    markdown: Markdown = None,
    strict: Strict = False,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    plugin: Plugins = None,
) -> None:
    """Say which limits of its matrix a run breaks, which it keeps, and of which that can't be told.

    Exits with 0 (none is broken), 1 (one is), 2 (usage error) or, with --strict, 3 (can't tell).
    """
    from bench.matrix.reading import read_matrix
    from bench.results.store import Store
    from reports.frames.limits import limits_of
    from reports.frames.run import read_frames
    from reports.frames.view import read

    load_plugins(plugin or [])
    store = Store.open(results, store_url or "", create=False)
    run_id = store.find_run(run_id)
    view = read(store, run_id)
    store.close()
    others = read_matrix(matrix).limits if matrix else None
    if not (others or view.run["request"].get("limits")):
        raise BenchError(
            f"{f'matrix {matrix}' if matrix else f'the matrix of run {run_id}'} has no limits; "
            'write limits = ["latency_p99_ms <= 20"] at the top of the file'
        )
    comparison = limits_of(view, read_frames(view), others)
    comparison.before = f"the limits of {matrix}" if matrix else comparison.before
    deliver(comparison, json=json, junit=junit, markdown=markdown, strict=strict)


COMMANDS = (Command("limits", "Compare", limits),)
