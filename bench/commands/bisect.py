"""`bench bisect`: finds the commit that made a metric worse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands import Command
from bench.commands.run import INTERRUPTED
from bench.errors import BenchError
from bench.formatting import say

SEVERAL_LEFT = 3
"""The exit code where skipped commits leave more than one suspect: it can't tell."""


def bisect(
    good: Annotated[str, typer.Argument(help="A revision before the slowdown.")],
    bad: Annotated[str, typer.Argument(help="A revision after it.")] = "HEAD",
    run_command: Annotated[
        str | None, typer.Option("--command", help="Command to time in each revision: 'python train.py'.")
    ] = None,
    matrix: Annotated[
        str | None, typer.Option("--matrix", "-m", help="Matrix with the cell: a name or a TOML file.")
    ] = None,
    cell: Annotated[str | None, typer.Option("--cell", help="Cell of the matrix to measure.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Metric to go by; of a command, its time by default.")
    ] = None,
    budget_s: Annotated[
        float, typer.Option("--budget", min=1, help="Seconds for each comparison of two revisions.")
    ] = 120,
    first_parent: Annotated[
        bool, typer.Option("--first-parent", help="Take merges as one commit each: follow first parents.")
    ] = False,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", help="Revision not to measure; repeatable.")
    ] = None,
) -> None:
    """Find the commit between GOOD and BAD that made a command, or a cell of a matrix, slower.

    Compares each commit with GOOD in work trees of its own, and leaves yours alone. Exits with 0 (one
    commit), 2 (usage error) or 3 (several commits are left).
    """
    from bench.regression.bisect import Search, bisection_lines
    from bench.regression.bisect import bisect as find
    from bench.regression.bisect_by_ab import AbProcess
    from bench.regression.revisions import Repository

    what = _what(run_command, matrix, cell, metric)
    repository = Repository(Path.cwd())
    if repository.has_changes():
        say("note: uncommitted changes take no part in this")
    skipped = frozenset(repository.commit(name).revision for name in skip or ())
    compare = AbProcess(what, Path.cwd(), metric or "")
    search = Search(compare, budget_s, first_parent=first_parent, skip=skipped, tell=say)
    try:
        found = find(repository, good, bad, search)
    except KeyboardInterrupt:
        say("interrupted; nothing is left behind")
        raise typer.Exit(INTERRUPTED) from None
    for line in bisection_lines(found):
        say(line)
    if len(found.culprits) > 1:
        raise typer.Exit(SEVERAL_LEFT)


COMMANDS = (Command("bisect", "Compare", bisect),)


def _what(command: str | None, matrix: str | None, cell: str | None, metric: str | None) -> list[str]:
    """Return the options that tell `bench ab` what to measure; raises BenchError unless they are complete."""
    of_cell = {"--matrix": matrix, "--cell": cell}
    given = [name for name, value in of_cell.items() if value is not None]
    if (command is None) == (not given):
        raise BenchError("say what to measure: either --command, or --matrix with --cell and --metric")
    if command is not None:
        return ["--command", command]
    missing = [name for name, value in {**of_cell, "--metric": metric}.items() if value is None]
    if missing:
        raise BenchError(f"--matrix, --cell and --metric belong together; {', '.join(missing)} is missing")
    return ["--matrix", str(matrix), "--cell", str(cell), "--metric", str(metric)]
