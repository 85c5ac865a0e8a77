"""`bench merge`: make one run of several."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.commands import Command, StoreUrl
from bench.formatting import say


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Results folders, whose latest run is taken, or the folders of runs; "
            "with --store also ids of runs in that store."
        ),
    ],
    into: Annotated[Path, typer.Option("--into", help="The results folder that gets the merged run.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Take a run that was ended early with what it has.")
    ] = False,
    store_url: StoreUrl = None,
) -> None:
    """Make one run of shards of a matrix, or of its runs on several machines, and write its report.

    Checks that all are of one matrix, and that no cell has two answers on one machine. Stages that several
    runs have are kept apart: no timing is a mean over machines. Machines whose libraries differ are kept
    apart too. Where the latest run of a folder has not ended, an earlier one of the same command is taken.
    """
    from bench.commands.report import write_and_print
    from bench.results.folder import refuse_bytes, refuse_file
    from bench.results.merging import merge as merge_parts
    from bench.results.parts import find_part

    refuse_file(into)
    refuse_bytes(into)
    url = store_url or ""
    parts = [find_part(place, url, into, partial=partial) for place in runs]
    run_id = merge_parts(parts, into, lambda line: say(line, file=sys.stderr), url)
    write_and_print(run_id, into, url, complete=True)


COMMANDS = (Command("merge", "Compare", merge),)
