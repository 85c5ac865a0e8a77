"""`bench export`: write a run as a file that another tool reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Results, RunId, StoreUrl
from bench.formatting import counted, say


def export(
    run_id: RunId = None,
    format_name: Annotated[
        str, typer.Option("--format", help="pytest-benchmark (read by github-action-benchmark too).")
    ] = "pytest-benchmark",
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write; without it, standard output.")
    ] = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Write the timings of a run as a file that another tool reads.

    A round is a launch, and its time that launch's median. FLOPs, memory and quality are in `extra_info`.
    """
    from bench.files import replace_file
    from bench.interchange.exports import export_format
    from bench.results.store import Store
    from techniques.registry import first_few

    format_ = export_format(format_name)
    store = Store.open(results, store_url or "", create=False)
    exported = format_.render(store, store.find_run(run_id))
    if exported.notes:
        left_out = first_few(exported.notes)
        say(f"left out: {counted(len(exported.notes), 'cell')}: {left_out}", file=sys.stderr)
    if to is None:
        sys.stdout.write(exported.data.decode())
    else:
        replace_file(to, exported.data)
        say(f"wrote {to}")


COMMANDS = (Command("export", "Compare", export),)
