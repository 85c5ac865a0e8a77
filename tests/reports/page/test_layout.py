"""Where tables and figures stand: each has a place, and each column that is named exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pandas as pd
import pytest

from reports.frames import inference, training
from reports.grids import compression, fidelity, generation, optimizers, run, runtimes, steps
from reports.grids.cell import Column
from reports.page.layout import SECTIONS, TABLES, section_of

GRIDS = Path(run.__file__).parent
OF_OTHER_COMMANDS = {"estimate.py", "ranking.py", "short.py"}
"""Grids of `bench estimate`, of `bench rank` and of the terminal."""

COLUMNS: dict[str, tuple[Column, ...]] = {
    "optimizers": optimizers.OPTIMIZERS,
    "training": run.training_columns(pd.DataFrame(columns=list(training.COLUMNS))),
    "inference": run.inference_columns(pd.DataFrame(columns=list(inference.COLUMNS))),
    "compression": run.COMPRESSION,
    "tradeoff": compression.TRADEOFF,
    "runtimes": runtimes.RUNTIMES,
    "generation": generation.GENERATION,
    "requests": generation.REQUESTS,
    "steps": steps.STEPS,
    "memory": run.MEMORY,
    "fidelity": fidelity.FIDELITY,
    "groups": next(columns for name, _, columns in fidelity._GRIDS if name == "groups"),
}


def names_of_grids() -> set[str]:
    """Return the names that the modules of grids give to tables: the first text that makes one."""
    found = {name for name, _, _ in fidelity._GRIDS} | {"training", "compression", "inference"}
    found |= {"memory", "overhead", "estimate", "sensitivity-lr", "sensitivity-batch-size"}
    for path in GRIDS.glob("*.py"):
        if path.name in OF_OTHER_COMMANDS:
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
                continue
            makes = call.func.id in ("Grid", "build_grid", "whole_grid", "_problem_grid")
            if makes and isinstance(call.args[0], ast.Constant):
                found.add(str(call.args[0].value))
    return found


def test_every_table_of_a_report_has_a_place() -> None:
    names = names_of_grids()
    assert {"limits", "classes", "not-run", "failed", "skipped", "environment", "gaps"} <= names
    assert not {name for name in names if not section_of(name, "tables")}


def test_every_section_names_tables_that_exist() -> None:
    names = names_of_grids()
    patterns = [pattern for section in SECTIONS for pattern in section.tables]
    assert all(any(name.startswith(pattern.rstrip("*")) for name in names) for pattern in patterns)
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)


@pytest.mark.parametrize(
    "figure",
    [
        *("training-curves-digits", "sensitivity-lr-digits", "layers-x", "estimate", "matrix-x"),
        *("performance-profile", "pareto-fronts-x", "latencies-x", "roofline-x", "operators-x"),
    ],
)
def test_every_figure_has_a_place(figure: str) -> None:
    assert section_of(figure, "figures")


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_columns_that_a_table_shows_first_exist(name: str) -> None:
    headings = {heading for heading, _ in COLUMNS[name]}
    shown = TABLES[name].shown
    assert set(shown) <= headings
    assert len(shown) <= 14
