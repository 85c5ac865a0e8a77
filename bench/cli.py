"""The command line: finds the commands of `bench.commands` and groups their help."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from bench import __version__, commands
from bench.commands import Command, Group, Verbose
from bench.execution.run_log import shown

PARENTS = {
    "data": ("Look", "Find, fetch and locate data sets."),
    "baseline": ("Compare", "Save the values of a run to compare later runs with."),
}
"""Commands that only hold others: their group and their help."""


class Grouped(TyperGroup):
    """Help that lists commands by group, each with the whole first sentence of its own help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {group: [] for group in (*get_args(Group), "Commands")}
        for name, command in self.commands.items():
            group = command.rich_help_panel or "Commands"  # type: ignore[attr-defined]
            sections[group].append((name, _first_sentence(command.help or "")))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def make_app() -> typer.Typer:
    """Return the application with every command of `bench.commands`."""
    app = _group(
        "Measure which optimizer trains a model, and which compression on which backend serves it, "
        "for the least time, energy and memory."
    )
    app.callback()(_options)
    parents = {name: _group(help_) for name, (_, help_) in PARENTS.items()}
    for command in sorted(find_commands(), key=lambda found: (found.place, found.name)):
        into = parents[command.parent] if command.parent else app
        panel = None if command.parent else command.group
        into.command(command.name, rich_help_panel=panel)(command.function)
    for name, (group, _) in PARENTS.items():
        app.add_typer(parents[name], name=name, rich_help_panel=group)
    return app


def find_commands() -> Iterator[Command]:
    """Yield the commands of each file in `bench/commands/`."""
    for found in pkgutil.iter_modules(commands.__path__):
        yield from getattr(importlib.import_module(f"{commands.__name__}.{found.name}"), "COMMANDS", ())


def _group(help_: str) -> typer.Typer:
    return typer.Typer(
        cls=Grouped,
        help=help_,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bench {__version__}")
        raise typer.Exit


def _options(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the suite's version and exit."
        ),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Handle the options that every command shares."""
    ctx.with_resource(shown(verbose))


def _first_sentence(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split())


app = make_app()
