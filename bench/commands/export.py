"""`bench export`: write a run as files that other tools read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunId, StoreUrl
from bench.errors import BenchError
from bench.formatting import counted, say
from bench.plugins import load_plugins

if TYPE_CHECKING:
    from bench.interchange.exported import Exported


def export(
    run_id: RunId = None,
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            help="csv, parquet, json, markdown, latex, excel, html, mlflow, tensorboard, or pytest-benchmark "
            "(read by github-action-benchmark too).",
        ),
    ] = "pytest-benchmark",
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="File or folder to write, of mlflow also a server's URL; without it, standard output.",
        ),
    ] = "",
    table: Annotated[
        str, typer.Option("--table", help="Write only this table of the report, such as inference.")
    ] = "",
    plugin: Plugins = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Write a run as files that other tools read.

    Tables have the columns and units of the reference. In pytest-benchmark's file a round is a launch, and
    its time that launch's median; FLOPs, memory and quality are in `extra_info`.
    """
    from bench.interchange.exports import export_format
    from bench.results.store import Store

    load_plugins(plugin or [])
    format_ = export_format(format_name, table)
    store = Store.open(results, store_url or "", create=False)
    run_id = store.find_run(run_id)
    if format_.send is not None:
        if not to:
            raise BenchError(f"--format {format_name} needs --to: a folder, or the URL of a server")
        say(format_.send(store, run_id, to))
        return
    assert format_.render is not None
    _write(format_.render(store, run_id), to, format_name)


COMMANDS = (Command("export", "Compare", export),)


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
