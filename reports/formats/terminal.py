"""What the terminal shows at the end of a run: a few columns of the report's tables as plain text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reports.grids.cell import Entry
from reports.grids.grid import Grid


@dataclass(frozen=True)
class ShortTable:
    """A table of plain strings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def short_tables(grids: Iterable[Grid], *, details: bool = False) -> list[ShortTable]:
    """Return tables as plain text, a line for each row; `details` follow each text."""
    return [
        ShortTable(
            grid.title,
            grid.columns,
            tuple(tuple(_text(entry, details) for entry in row) for row in grid.rows),
        )
        for grid in grids
    ]


def _text(entry: Entry, details: bool) -> str:
    return f"{entry.text}; {entry.detail}" if details and entry.detail else entry.text
