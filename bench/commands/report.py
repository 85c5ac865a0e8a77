"""`bench report`: write a run's report and print its short form."""

from __future__ import annotations

from pathlib import Path

from bench.commands import RESULTS, Command, Results, RunId
from bench.formatting import print_table, say


def report(run_id: RunId = None, results: Results = RESULTS) -> None:
    """Write a run's report again and print its short tables and where its time went."""
    write_and_print(run_id, results)


COMMANDS = (Command("report", "Look", report, place=0),)


def write_and_print(run_id: str | None, results: Path, *, complete: bool = False) -> None:
    """Write a run's report and print its short form; `complete` where that is the run's last act."""
    from bench.results.store import Store
    from reports.formats.terminal import estimate_text, notes_text, overhead_text, short_tables
    from reports.prose.verdict import SMOKE
    from reports.write import write

    store = Store.open(results, create=False)
    run_id = store.find_run(run_id)
    path = write(store, run_id, results / run_id, complete=complete)
    if store.run(run_id)["request"].get("smoke"):
        say(SMOKE)
    else:
        for short in short_tables(store, run_id):
            print_table(short.title, short.rows, short.columns, wrap=False)
    notes = notes_text(store, run_id)
    if notes:
        say(notes)
    say(overhead_text(store, run_id))
    say(estimate_text(store, run_id))
    say(f"report: {path}")
