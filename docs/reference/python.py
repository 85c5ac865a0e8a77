"""The page of the Python interface."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench import api
from docs.reference.markdown import assemble, block, code, docstring, prose, table
from reports.frames.columns import about
from reports.frames.loading import load

INTRODUCTION = """`bench.measure` measures a live module, and `bench.load` reads the records of runs.
Everything else goes through the command line and a matrix. [Your own model](../guides/model.md) and
[A store for a team](../guides/teams.md) have complete examples."""


def page() -> str:
    """Return the page."""
    return assemble(
        "Python",
        INTRODUCTION,
        "## bench.measure",
        block(_signature(api.measure)),
        docstring(api.measure),
        "### What it returns",
        "A pandas frame with one row for each cell. Units are in the names of the columns; unknown is empty. "
        "The same table is `tables/inference.csv` in the run's folder; [Tables](tables.md) has all others.",
        table(("column", ""), map(_row, columns())),
        "## bench.load",
        block(_signature(load)),
        docstring(load),
    )


def _row(column: str) -> tuple[str, str]:
    return code(column), prose(about("inference", column))


def _signature(function: Callable[..., Any]) -> str:
    lines, keyword_only = [], False
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"{parameter.name}: {parameter.annotation}{default}")
    inside = "".join(f"    {line},\n" for line in lines)
    return f"bench.{function.__name__}(\n{inside}) -> {signature.return_annotation}"


def columns() -> list[str]:
    """Return the columns of the table of cells, from a run without any."""
    from reports.frames import inference_table

    nothing = SimpleNamespace(
        cells=(),
        smoke=True,
        trainings=lambda: (),
        measured=lambda kind: (),
        values=lambda metric, qualifier="": {},
        numbers=lambda keys: np.empty(0, dtype=int),
        column=lambda metric, numbers, qualifier="": np.empty(0),
    )
    return [str(column) for column in inference_table(nothing).columns]  # type: ignore[arg-type]
