"""The commands, one file each: name, options, help and implementation.

`bench.cli` finds every file here that sets `COMMANDS`. All are imported before any command runs, so slow
imports (PyTorch, pandas, SQLAlchemy) belong inside the functions that use them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bench.results.folder import STORE_VARIABLE

Group = Literal["Measure", "Look", "Compare", "Maintain"]


@dataclass(frozen=True)
class Command:
    """A command: its name, its group in the help, and the function that typer reads its options from.

    `parent` is the command above it, such as `data` in `bench data get`. `place` orders a group's commands;
    those with the same place are sorted by name.
    """

    name: str
    group: Group
    function: Callable[..., Any]
    parent: str = ""
    place: int = 10


Results = Annotated[Path, typer.Option("--results", help="Folder of the store, artifacts and reports.")]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar=STORE_VARIABLE,
        help="URL of a store that several machines share, postgresql://USER@HOST/DATABASE; "
        "by default the store is a file in --results.",
    ),
]
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
        help="Model file of a trusted source to load even though it could run code; repeatable.",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print the run's log: each process and how it ended."),
]
RunId = Annotated[str | None, typer.Argument(help="Run id or its beginning; the latest run by default.")]
RunOption = Annotated[
    str | None, typer.Option("--run", help="Run id or its beginning; the latest run by default.")
]

RESULTS = Path("results")
