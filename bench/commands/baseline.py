"""`bench baseline`: keep the values of a run, to compare later runs with."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Results, RunId, StoreUrl
from bench.formatting import counted, print_table, say

Name = Annotated[str, typer.Argument(help="Name of the baseline.")]


def save(name: Name, run_id: RunId = None, results: Results = RESULTS, store_url: StoreUrl = None) -> None:
    """Save a run's values as a baseline, in the results folder's baselines/.

    Earlier runs of the machine go with it: how far their timings lie apart is what a check needs to know.
    """
    from bench.regression.baseline import baseline_run
    from bench.regression.baseline import save as save_baseline
    from bench.results.store import Store

    store = Store.open(results, store_url or "", create=False)
    run_id = store.find_run(run_id)
    before = baseline_run(name, results)
    replaced = f", replacing run {before}" if before and before != run_id else ""
    say(f"baseline {name}: {save_baseline(store, run_id, name, results)}, from run {run_id}{replaced}")


def list_(results: Results = RESULTS) -> None:
    """List the baselines of the results folder."""
    from bench.regression.baseline import names, read_baseline

    rows = [(name, read_baseline(name, results)) for name in names(results)]
    if not rows:
        say(f"no baseline in {results / 'baselines'}; `bench baseline save NAME` saves one")
        return
    print_table(
        "Baselines",
        [
            (name, content["run"], content["matrix"], str(len(content["stages"])), str(_runs(content)))
            for name, content in rows
        ],
        ("baseline", "run", "matrix", "stages", "earlier runs"),
    )


def show(name: Name, results: Results = RESULTS) -> None:
    """Print what a baseline has: its stages, with each metric's value or launches."""
    from bench.formatting import format_value
    from bench.regression.baseline import metric_of, read_baseline

    content = read_baseline(name, results)
    say(f"baseline {name}: run {content['run']}, matrix {content['matrix']}")
    for stage, entries in content["stages"].items():
        for metric, entry in entries.items():
            values = entry["launches"] or [entry["value"]]
            shown = ", ".join(format_value(metric_of(metric), value) for value in values)
            history = len(content["history"].get(stage, {}).get(metric, []))
            earlier = f"; {counted(history, 'earlier run')}" if history else ""
            say(f"{stage}  {metric}: {shown}{earlier}")


def rm(name: Name, results: Results = RESULTS) -> None:
    """Remove a baseline. The run that it was made from stays."""
    from bench.regression.baseline import remove

    say(f"removed {remove(name, results)}")


def _runs(content: dict[str, object]) -> int:
    history = content["history"]
    assert isinstance(history, dict)
    return max((len(values) for metrics in history.values() for values in metrics.values()), default=0)


COMMANDS = (
    Command("save", "Compare", save, parent="baseline", place=0),
    Command("list", "Compare", list_, parent="baseline"),
    Command("show", "Compare", show, parent="baseline"),
    Command("rm", "Compare", rm, parent="baseline"),
)
