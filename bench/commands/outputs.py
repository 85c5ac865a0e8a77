"""Options of the commands that compare: which files to write, and what counts as a failure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from bench.regression.finding import Comparison

Json = Annotated[
    Path | None, typer.Option("--json", help="Write every finding to this file as JSON, for programs.")
]
Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit", help="Write a JUnit XML file: a test case for each finding; alarms are failures."
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown",
        help="Write a Markdown file. In GitHub's Actions, the step's summary and its annotations are written "
        "without any option.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 3 where nothing got worse but something can't be told.")
]


def deliver(
    comparison: Comparison,
    *,
    json: Path | None = None,
    junit: Path | None = None,
    markdown: Path | None = None,
    strict: bool = False,
) -> NoReturn:
    """Print a comparison, write the files that are asked for, and exit with 0, 1 or 3."""
    from reports.checks.write import Outputs, write

    raise typer.Exit(write(comparison, Outputs(json, junit, markdown, strict)))
