"""`bench check`: compare a run with a baseline."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Results, RunId, StoreUrl
from bench.commands.outputs import Json, Junit, Markdown, Strict, deliver
from bench.formatting import say


def check(
    name: Annotated[
        str, typer.Option("--baseline", help="Name of a saved baseline, id of a run, or a baseline's file.")
    ],
    run_id: RunId = None,
    margin: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Change of a timing that matters: 0.05 is 5 %.")
    ] = 0.05,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Slowdown that is let pass: 0.02 is 2 %.")
    ] = 0.0,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Launch what got slower again, before it counts as a regression."),
    ] = False,
    any_machine: Annotated[
        bool, typer.Option("--any-machine", help="Compare timings of different machines and libraries too.")
    ] = False,
    json: Json = None,
    junit: Junit = None,
    markdown: Markdown = None,
    strict: Strict = False,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Compare a run with a baseline.

    Exact metrics are compared exactly, timings by their launches and by how far earlier runs of the machine
    lie apart. Exits with 0 (nothing is known to be worse), 1 (a regression, or something is lost), 2 (usage
    error) or, with --strict, 3 (something can't be told or compared).
    """
    from bench.regression.confirming import confirmed
    from bench.regression.verdict import check as compare
    from bench.results.store import Store

    store = Store.open(results, store_url or "", create=False)
    run_id = store.find_run(run_id)
    comparison = compare(
        store, run_id, name, results, margin=margin, threshold=threshold, any_machine=any_machine
    )
    if confirm:
        store.close()
        comparison = confirmed(
            comparison,
            run_id,
            results,
            store_url or "",
            name,
            lambda line: say(line, file=sys.stderr),
            margin=margin,
            threshold=threshold,
            any_machine=any_machine,
        )
    deliver(comparison, json=json, junit=junit, markdown=markdown, strict=strict)


COMMANDS = (Command("check", "Compare", check),)
