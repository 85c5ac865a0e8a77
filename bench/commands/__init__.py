"""The command line's table: one file for each command, with its name, options and help, and what it does.

A file here that sets `COMMANDS` is found by `bench.cli`. All of them are imported before any runs, so what
takes time to import (PyTorch, pandas, SQLAlchemy) is imported inside the functions that use it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Group = Literal["Measure", "Look", "Compare", "Maintain"]


@dataclass(frozen=True)
class Command:
    """A command: its name, its group in the help, and the function that typer reads its options from.

    `parent` is the command that it belongs under, as `data` in `bench data get`. `place` orders a group's
    commands; those of one place come by name.
    """

    name: str
    group: Group
    function: Callable[..., Any]
    parent: str = ""
    place: int = 10


Results = Annotated[Path, typer.Option("--results", help="Folder of the store, artifacts and reports.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", help="Python file that adds techniques, workloads, metrics or output formats; repeatable."
    ),
]
Trust = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust",
        help="Model file to load although it could run code, from someone you trust; repeatable.",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show what a run's log keeps: each process, how it ended."),
]
RunId = Annotated[str | None, typer.Argument(help="Run id or its beginning; the latest run by default.")]
RunOption = Annotated[
    str | None, typer.Option("--run", help="Run id or its beginning; the latest run by default.")
]

RESULTS = Path("results")
