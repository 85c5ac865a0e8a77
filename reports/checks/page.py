"""Runs side by side as one HTML page that opens offline; everything from the runs is escaped."""

from __future__ import annotations

from bench.regression.side_by_side import SideBySide
from reports.checks.side_by_side import MAX_PAGE_ROWS, sides_grid, summary, whole_grid
from reports.formats.page import render_page


def render(found: SideBySide) -> str:
    """Return the page with its style and script inside."""
    return render_page(
        "compare.html.j2",
        title=" vs ".join(side.name for side in found.sides),
        summary=summary(found),
        notes=found.notes,
        sides=sides_grid(found),
        table=whole_grid(found),
        left_out=max(0, len(found.rows) - MAX_PAGE_ROWS),
    )
