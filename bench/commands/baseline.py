"""`bench baseline`: save the values of a run, to compare later runs with."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Results, RunId, StoreUrl
from bench.formatting import say


def save(
    name: Annotated[str, typer.Argument(help="Name of the baseline.")],
    run_id: RunId = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Save a run's values as a baseline, in the results folder's baselines/."""
    from bench.regression.baseline import baseline_run
    from bench.regression.baseline import save as save_baseline
    from bench.results.store import Store

    store = Store.open(results, store_url or "", create=False)
    run_id = store.find_run(run_id)
    before = baseline_run(name, results)
    replaced = f", replacing run {before}" if before and before != run_id else ""
    say(f"baseline {name}: {save_baseline(store, run_id, name, results)}, from run {run_id}{replaced}")


COMMANDS = (Command("save", "Compare", save, parent="baseline"),)
