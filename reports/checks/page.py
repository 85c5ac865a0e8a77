"""Runs side by side as one HTML page that opens offline; everything from the runs is escaped."""

from __future__ import annotations

from typing import Any

from bench.regression.side_by_side import SideBySide
from reports.checks.side_by_side import MAX_PAGE_ROWS, page_grid, sides_grid, summary
from reports.formats.page import render_page
from reports.page.assets import script_of_tables, style
from reports.page.numbers import as_json
from reports.page.tables import table_data

_NO_RECORDS: dict[str, Any] = {"axes": [], "texts": [], "stages": {}, "repeat": {}}


def render(found: SideBySide) -> str:
    """Return the page with its data, style and script inside."""
    title = " vs ".join(side.name for side in found.sides)
    grids = (sides_grid(found), page_grid(found))
    tables = [table_data(grid) for grid in grids]
    return render_page(
        "compare.html.j2",
        script=script_of_tables(),
        style=style(),
        title=title,
        summary=summary(found),
        notes=found.notes,
        grids=grids,
        left_out=max(0, len(found.rows) - MAX_PAGE_ROWS),
        json=as_json({"run": "", "tables": tables, "charts": {}, "records": _NO_RECORDS}),
    )
