"""`bench merge`: make one run of several."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.commands import Command
from bench.formatting import say


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Results folders, whose latest run is taken, or the folders of runs."),
    ],
    into: Annotated[Path, typer.Option("--into", help="The results folder that gets the merged run.")],
) -> None:
    """Make one run of shards of a matrix, or of its runs on several machines, and write its report.

    Checks that all are of one matrix, and that no cell has two answers on one machine. Stages that several
    runs have are kept apart: no timing is a mean over machines.
    """
    from bench.commands.report import write_and_print
    from bench.results.folder import refuse_bytes, refuse_file
    from bench.results.merging import find_part
    from bench.results.merging import merge as merge_parts

    refuse_file(into)
    refuse_bytes(into)
    parts = [find_part(place) for place in runs]
    run_id = merge_parts(parts, into, lambda line: say(line, file=sys.stderr))
    write_and_print(run_id, into, complete=True)


COMMANDS = (Command("merge", "Compare", merge),)
