"""`bench check`: compare a run with a baseline."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Results, RunId, StoreUrl
from bench.formatting import say


def check(
    name: Annotated[str, typer.Option("--baseline", help="Name of a saved baseline.")],
    run_id: RunId = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=10, help="Slowdown that counts as a regression: 0.1 is 10 %.")
    ] = 0.1,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Compare a run with a baseline. Exits with 0 (clean), 1 (regression) or 2 (usage error)."""
    from bench.regression.verdict import check as compare
    from bench.regression.verdict import verdict_lines
    from bench.results.store import Store

    store = Store.open(results, store_url or "", create=False)
    comparison = compare(store, store.find_run(run_id), name, results, threshold)
    for line in verdict_lines(comparison):
        say(line)
    if not comparison.clean:
        raise typer.Exit(1)


COMMANDS = (Command("check", "Compare", check),)
