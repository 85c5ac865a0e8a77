"""`bench report`: write a run's report and print its short form."""

from __future__ import annotations

from pathlib import Path

from bench.collector import collector
from bench.commands import RESULTS, Command, Plugins, Results, RunId, StoreUrl
from bench.formatting import print_table, say
from bench.plugins import load_plugins


def report(
    run_id: RunId = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
    plugin: Plugins = None,
) -> None:
    """Write a run's report again; print its short tables and where its time went."""
    load_plugins(plugin or [])
    write_and_print(run_id, results, store_url or "")


COMMANDS = (Command("report", "Look", report, place=0),)


def write_and_print(
    run_id: str | None,
    results: Path,
    store_url: str = "",
    *,
    complete: bool = False,
    brief: bool = False,
) -> bool:
    """Write a run's report and print its short tables, or with `brief` its summary.

    It is `complete` if the run has just ended. Returns whether no limit of its matrix is broken.
    """
    # Until all that was made is gone: each search would look through millions of objects.
    with collector(on=False):
        return _write_and_print(run_id, results, store_url, complete=complete, brief=brief)


def _write_and_print(
    run_id: str | None, results: Path, store_url: str, *, complete: bool, brief: bool
) -> bool:
    from bench.results.store import Store
    from reports.content import gather
    from reports.formats.terminal import short_tables
    from reports.prose.verdict import SMOKE
    from reports.write import write_content

    store = Store.open(results, store_url, create=False)
    run_id = store.find_run(run_id)
    content = gather(store, run_id, complete=complete)
    path = write_content(content, results / run_id)
    if brief:
        for line in content.summary:
            say(line)
        say(f"report: {path}")
        return content.limits.clean
    if store.run(run_id)["request"].get("smoke"):
        say(SMOKE)
    for short in short_tables(content.short):
        print_table(short.title, short.rows, short.columns, wrap=False)
    for line in content.last_lines:
        say(line)
    say(f"report: {path}")
    return content.limits.clean
