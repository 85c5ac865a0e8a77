"""`bench compare`: runs side by side, of machines, commits or libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Results, StoreUrl
from bench.errors import BenchError
from bench.formatting import print_table, say

PAGE = "compare.html"
"""The file in the last run's folder that has the page by default."""


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Two runs or more: ids or their beginnings, paths of run folders, or results folders, whose "
            "latest run is taken. The others are compared with the first.",
            show_default=False,
        ),
    ],
    margin: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Change of a timing that matters: 0.05 is 5 %.")
    ] = 0.05,
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of the table to print at most.")] = 40,
    html: Annotated[
        Path | None,
        typer.Option("--html", help=f"File of the page with every value; by default {PAGE} of the last run."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the runs, notes and table to this file.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write every value to this file as JSON, for programs.")
    ] = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Put runs side by side: of machines, commits or libraries.

    Each value of a later run has a verdict against the first one, as in `bench check`; what is not comparable
    is said. Timings are compared across machines too, since that is what is asked for.
    """
    from bench.files import replace_file
    from bench.regression.side_by_side import compare_runs
    from bench.results.folder import refuse_links
    from reports.checks.page import render
    from reports.checks.side_by_side import as_json, as_markdown, short_grid, sides_grid, summary
    from reports.formats.terminal import short_tables

    found = compare_runs(runs, results, store_url or "", margin=margin)
    last = found.sides[-1]
    page = html or last.results / last.run_id / PAGE
    if html is None:
        refuse_links(last.results, f"{last.run_id}/{PAGE}")
    short = short_grid(found, rows)
    tables = short_tables([sides_grid(found), short], details=True)
    for table in tables:
        if table.rows:
            print_table(table.title, table.rows, table.columns)
    if short.left_out:
        say(short.left_out)
    for note in found.notes:
        say(f"note: {note}")
    say(summary(found))
    files = {page: render(found).encode()}
    files |= {markdown: as_markdown(found).encode()} if markdown else {}
    files |= {json: as_json(found)} if json else {}
    for path, data in files.items():
        try:
            replace_file(path, data)
        except OSError as error:
            raise BenchError(f"{path}: cannot be written: {error.strerror or error}") from None
    say(f"page: {page}")


COMMANDS = (Command("compare", "Compare", compare, place=1),)
