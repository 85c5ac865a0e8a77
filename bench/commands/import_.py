"""`bench import`: make a run of the file of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Results, StoreUrl
from bench.formatting import say


def import_file(
    file: Annotated[Path, typer.Argument(help="A JSON file of pytest-benchmark, asv or hyperfine.")],
    format_name: Annotated[
        str,
        typer.Option(
            "--format", help="pytest-benchmark, asv or hyperfine; guessed from the file by default."
        ),
    ] = "",
    machine: Annotated[
        str,
        typer.Option(
            "--machine", help="Name of the machine that it was measured on, where the file does not say it."
        ),
    ] = "",
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Make a run of a file that pytest-benchmark, asv or hyperfine wrote, to show it and compare with it.

    Rounds of one process are samples of one launch. Those of hyperfine are launches: each is a process.
    """
    from bench.interchange.imports import enter_file
    from bench.results.folder import refuse_bytes, refuse_file

    refuse_file(results)
    refuse_bytes(results)
    entered = enter_file(file, results, store_url or "", format_name, machine)
    for note in entered.notes:
        say(f"note: {note}")
    say(f"run {entered.run_id}: {entered.text}")


COMMANDS = (Command("import", "Compare", import_file),)
