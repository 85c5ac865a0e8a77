"""The terminal's tables of a stored run, without the figures of its report."""

from __future__ import annotations

from bench.results.store import Store
from reports.formats import terminal
from reports.frames.run import read_frames
from reports.frames.view import read
from reports.grids.short import short_grids


def short_tables(store: Store, run_id: str) -> list[terminal.ShortTable]:
    """Return the tables that the terminal shows of a run."""
    return terminal.short_tables(short_grids(read_frames(read(store, run_id))))
