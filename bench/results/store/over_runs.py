"""Finds a cell or a stage in all runs of the store: its history."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from bench.results.store import schema


def runs_of_cell(connection: sa.Connection, name: str) -> dict[str, Mapping[str, str]]:
    """Return the stages' keys by kind of the cell of this name, by the id of each run, oldest first."""
    cells = schema.cells.c
    query = (
        sa.select(cells.run_id, cells.stages)
        .join(schema.runs, schema.runs.c.id == cells.run_id)
        .where(cells.name == name, cells.skipped == "")
        .order_by(schema.runs.c.number)
    )
    return {row.run_id: row.stages for row in connection.execute(query)}


def runs_of_stage(connection: sa.Connection, kind: str, label: str) -> dict[str, str]:
    """Return the key of the stage of this kind and label, by the id of each run, oldest first."""
    stages = schema.stages.c
    query = (
        sa.select(stages.run_id, stages.key)
        .join(schema.runs, schema.runs.c.id == stages.run_id)
        .where(stages.kind == kind, stages.label == label)
        .order_by(schema.runs.c.number)
    )
    return {row.run_id: row.key for row in connection.execute(query)}


def stages_beginning(connection: sa.Connection, key: str) -> list[tuple[str, str]]:
    """Return (kind, label) of the stages of all runs whose key begins so, each once."""
    stages = schema.stages.c
    query = sa.select(stages.kind, stages.label).where(stages.key.startswith(key, autoescape=True)).distinct()
    return [(row.kind, row.label) for row in connection.execute(query)]


def cell_counts(connection: sa.Connection) -> dict[str, int]:
    """Return how many runs have each cell, most first; what was skipped does not count."""
    cells = schema.cells.c
    runs = sa.func.count().label("runs")
    query = (
        sa.select(cells.name, runs)
        .where(cells.skipped == "")
        .group_by(cells.name)
        .order_by(runs.desc(), cells.name)
    )
    return {row.name: row.runs for row in connection.execute(query)}
