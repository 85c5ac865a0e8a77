"""`bench targets`: which targets a rule gives workloads, from what their own optimizers reach."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from bench.commands import RESULTS, Command, Plugins, Results, RunId, StoreUrl
from bench.formatting import format_value, print_table
from bench.plugins import load_plugins

HEADINGS = (
    *("workload", "optimizer", "metric", "target today", "by the rule", "over seeds", "seeds that held it"),
    "remark",
)


def targets(
    run_id: RunId = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    plugin: Plugins = None,
) -> None:
    """Show the target that a rule gives each workload of a run, beside the one that it has.

    The rule: the median over seeds of the highest quality in validation that held at two evaluations in a row
    by three quarters of the steps. Trainings must have taken all of their steps, as those of
    `bench run --matrix targets` do: `stop_at_target = false` in [budget].
    """
    from bench.results.store import Store
    from reports.frames.targets import targets_table
    from reports.frames.view import read

    load_plugins(plugin or [])
    store = Store.open(results, store_url or "", create=False)
    view = read(store, store.find_run(run_id))
    store.close()
    rows = targets_table(view).astype(object)
    rows = rows.where(rows.notna(), None)
    print_table("targets", [_line(row) for row in rows.to_dict("records")], HEADINGS)


def _line(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    known, unknown = row["target_by_rule"] is not None, format_value("quality", None)
    return (
        *(str(row["workload"]), str(row["optimizer"]), str(row["quality_metric"])),
        f"{row['target']:g}",
        f"{row['target_by_rule']:g}" if known else unknown,
        f"{row['lowest']:.4g} to {row['highest']:.4g}" if known else unknown,
        f"{row['held_by_the_end']} of {row['seeds']}" if known else unknown,
        str(row["reason"]),
    )


COMMANDS = (Command("targets", "Compare", targets),)
