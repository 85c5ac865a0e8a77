"""`bench export`: write a run as files that other tools read, or a cell as a folder that runs alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunOption, StoreUrl, Trust
from bench.errors import BenchError
from bench.formatting import counted, say
from bench.plugins import load_plugins

if TYPE_CHECKING:
    from bench.interchange.exported import Exported

_DEFAULT = "pytest-benchmark"


def export(
    what: Annotated[
        str | None,
        typer.Argument(help="A cell's name, or a run id or its beginning; the latest run by default."),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of a run: csv, parquet, json, markdown, latex, excel, html, mlflow, tensorboard, or "
            f"{_DEFAULT} (read by github-action-benchmark too), the default.",
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Of a run: file or folder to write, of mlflow also a server's URL, else standard output. "
            "Of a cell: a new folder.",
        ),
    ] = "",
    table: Annotated[
        str, typer.Option("--table", help="Of a run: only this table of the report, such as inference.")
    ] = "",
    run_id: RunOption = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Take a cell's model away, to run without this suite; or write a run as files that other tools read.

    A cell becomes a folder: the runtime's file (.onnx, OpenVINO IR, .pte, .pt2, or safetensors and code), a
    script of a few lines that runs it on an example, and a model card with its record. It is run once in a
    fresh process, and must give the cell's outputs there.

    Of a run, tables have the columns and units of the reference. In pytest-benchmark's file a round is a
    launch, and its time that launch's median; FLOPs, memory and quality are in `extra_info`.
    """
    load_plugins(plugin or [])
    if what is not None and "/" in what:
        if format_name is not None or table or not to:
            raise typer.BadParameter(
                f"{what!r} is a cell: export it with --to FOLDER, and without --format and --table"
            )
        from bench.workloads.trust import trust

        trust(trusted or ())
        _export_cell(what, run_id, Path(to), results, store_url or "")
        return
    if what is not None and run_id is not None:
        raise typer.BadParameter(f"give the run once: {what!r} or --run {run_id!r}")
    _export_run(what or run_id, format_name or _DEFAULT, table, to, results, store_url or "")


COMMANDS = (Command("export", "Compare", export),)


def _export_run(
    run_id: str | None, format_name: str, table: str, to: str, results: Path, store_url: str
) -> None:
    from bench.interchange.exports import export_format
    from bench.results.store import Store

    format_ = export_format(format_name, table)
    store = Store.open(results, store_url, create=False)
    run_id = store.find_run(run_id)
    if format_.send is not None:
        if not to:
            raise BenchError(f"--format {format_name} needs --to: a folder, or the URL of a server")
        say(format_.send(store, run_id, to))
        return
    assert format_.render is not None
    _write(format_.render(store, run_id), to, format_name)


def _write(exported: Exported, to: str, format_name: str) -> None:
    """Write what was exported where it is to go; say what was left out."""
    from bench.files import replace_file
    from techniques.registry import first_few

    if exported.notes:
        left_out = first_few(exported.notes)
        say(f"left out: {counted(len(exported.notes), 'cell')}: {left_out}", file=sys.stderr)
    if not to:
        try:
            sys.stdout.write(exported.data.decode())
        except UnicodeDecodeError:
            raise BenchError(f"--format {format_name} is no text; --to FILE writes it") from None
        return
    target = Path(to)
    for path, data in exported.placed(target, in_folder=target.is_dir() or to.endswith("/")):
        try:
            replace_file(Path(path), data)
        except OSError as error:
            raise BenchError(f"{path}: cannot be written: {error.strerror or error}") from None
    many = f" ({counted(len(exported.files), 'file')})" if len(exported.files) > 1 else ""
    say(f"wrote {to}{many}")


def _export_cell(name: str, run_id: str | None, to: Path, results: Path, store_url: str) -> None:
    from bench.interchange.taken_away import take_away
    from bench.results.lookup import find_cell
    from bench.results.repeat import repeat_command
    from bench.results.store import Store

    store = Store.open(results, store_url, create=False)
    run_id = store.find_run(run_id)
    again = repeat_command(store.run(run_id), find_cell(store, run_id, name).axes, results, store.url)
    taken = take_away(store, run_id, name, results, to, again)
    store.close()
    same = "bit for bit" if not taken.difference else f"within {taken.difference:.2g}"
    say(f"wrote {to}: {', '.join(taken.files)}")
    say(f"run in a fresh process: the same outputs {same} (tolerance {taken.tolerance:.2g})")
    say(f"run it: python {to / 'run.py'}")
