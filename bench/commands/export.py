"""`bench export`: write a run as a file that another tool reads, or a cell as a folder that runs alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunOption, StoreUrl, Trust
from bench.formatting import counted, say

_DEFAULT = "pytest-benchmark"


def export(
    what: Annotated[
        str | None,
        typer.Argument(help="A cell's name, or a run id or its beginning; the latest run by default."),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option("--format", help=f"Of a run: {_DEFAULT} (read by github-action-benchmark too)."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Of a run: file to write, else standard output. Of a cell: a new folder."),
    ] = None,
    run_id: RunOption = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Take a cell's model away, to run without this suite; or write a run's timings for another tool.

    A cell becomes a folder: the runtime's file (.onnx, OpenVINO IR, .pte, .pt2, or safetensors and code), a
    script of a few lines that runs it on an example, and a model card with its record. It is run once in a
    fresh process, and must give the cell's outputs there.

    Of a run, a round is a launch, and its time that launch's median. FLOPs, memory and quality are in
    `extra_info`.
    """
    if what is not None and "/" in what:
        if format_name is not None or to is None:
            raise typer.BadParameter(f"{what!r} is a cell: export it with --to FOLDER, and without --format")
        from bench.plugins import load_plugins
        from bench.workloads.trust import trust

        trust(trusted or ())
        load_plugins(plugin or [])
        _export_cell(what, run_id, to, results, store_url or "")
        return
    if what is not None and run_id is not None:
        raise typer.BadParameter(f"give the run once: {what!r} or --run {run_id!r}")
    _export_run(what or run_id, format_name or _DEFAULT, to, results, store_url or "")


COMMANDS = (Command("export", "Compare", export),)


def _export_run(run_id: str | None, format_name: str, to: Path | None, results: Path, store_url: str) -> None:
    from bench.files import replace_file
    from bench.interchange.exports import export_format
    from bench.results.store import Store
    from techniques.registry import first_few

    format_ = export_format(format_name)
    store = Store.open(results, store_url, create=False)
    exported = format_.render(store, store.find_run(run_id))
    if exported.notes:
        left_out = first_few(exported.notes)
        say(f"left out: {counted(len(exported.notes), 'cell')}: {left_out}", file=sys.stderr)
    if to is None:
        sys.stdout.write(exported.data.decode())
    else:
        replace_file(to, exported.data)
        say(f"wrote {to}")


def _export_cell(name: str, run_id: str | None, to: Path, results: Path, store_url: str) -> None:
    from bench.commands.show import command
    from bench.interchange.taken_away import take_away
    from bench.results.lookup import find_cell
    from bench.results.store import Store

    store = Store.open(results, store_url, create=False)
    run_id = store.find_run(run_id)
    again = command(store.run(run_id), find_cell(store, run_id, name), results, store.url)
    taken = take_away(store, run_id, name, results, to, again)
    store.close()
    same = "bit for bit" if not taken.difference else f"within {taken.difference:.2g}"
    say(f"wrote {to}: {', '.join(taken.files)}")
    say(f"run in a fresh process: the same outputs {same} (tolerance {taken.tolerance:.2g})")
    say(f"run it: python {to / 'run.py'}")
