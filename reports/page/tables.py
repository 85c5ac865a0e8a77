"""Tables as the page has them: columns of texts, each text once, and the numbers to sort and draw by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.formatting import visible
from reports.grids.cell import UNKNOWN, Entry
from reports.grids.grid import Grid
from reports.page.layout import AXES, SHOWN_OF_OTHERS, TABLES, Table
from reports.page.numbers import coded, rounded

_MAX_NAMES = 200
"""Names listed in one field."""

_FIXED_OF_CLASSES = 7
"""The table of classes has a column for each class after these."""


def table_data(grid: Grid) -> dict[str, Any]:
    """Return a table as JSON has it.

    A column has its `texts`, and in `details` what shows on hover, both as `coded` returns them. `sort`,
    `low` and `high` are numbers by row.
    """
    spec = TABLES.get(grid.name, Table(grid.columns[:SHOWN_OF_OTHERS]))
    fields = list(zip(*grid.rows, strict=True)) or [()] * len(grid.columns)
    shown = set(spec.shown) & set(grid.columns) or set(grid.columns[:SHOWN_OF_OTHERS])
    if grid.name == "classes":
        shown |= set(grid.columns[_FIXED_OF_CLASSES:][:SHOWN_OF_OTHERS])
    return {
        "name": grid.name,
        "title": grid.title,
        "rows": len(grid.rows),
        "shared": [[heading, text, spec.axes.get(heading, "")] for heading, text in grid.shared],
        "columns": [
            _column(heading, entries) | {"shown": heading in shown} | _axis(grid, spec, heading, place)
            for place, (heading, entries) in enumerate(zip(grid.columns, fields, strict=True))
        ],
    }


def _axis(grid: Grid, spec: Table, heading: str, place: int) -> dict[str, str]:
    """Say what choosing a value of a column highlights, or which class a column is of."""
    if grid.name == "classes" and place >= _FIXED_OF_CLASSES:
        return {"of_class": heading}
    axis = spec.axes.get(heading, "")
    return {"axis": axis} if axis in AXES.values() else {}


def _column(heading: str, entries: Iterable[Entry]) -> dict[str, Any]:
    entries = tuple(entries)
    found: dict[str, Any] = {"heading": visible(heading)}
    found["texts"] = _visible(coded([one_line(entry) for entry in entries]))
    details = [_detail(entry) for entry in entries]
    if any(details):
        found["details"] = _visible(coded(details))
    for name, numbers in (
        ("sort", [entry.sort for entry in entries]),
        ("low", [entry.low for entry in entries]),
        ("high", [entry.high for entry in entries]),
    ):
        if any(number is not None for number in numbers):
            found[name] = [rounded(number) for number in numbers]
    marks = {str(row): entry.mark for row, entry in enumerate(entries) if entry.mark in ("bad", "front")}
    if marks:
        found["marks"] = marks
    if any(entry.mark == "key" for entry in entries):
        found["mono"] = True
    return found


def _visible(texts: dict[str, Any]) -> dict[str, Any]:
    """Make coded texts show all that is in them, each once."""
    return texts | {"of": [visible(text) for text in texts["of"]]}


def one_line(entry: Entry) -> str:
    """Write a field in one line, half the width of its interval behind its value: `35.1 µs ± 3 %`."""
    text = entry.text
    if entry.mark == "list":
        names = entry.detail.split("\n")
        return names[0] if len(names) == 1 else f"{names[0]}, and {len(names) - 1:,} more"
    if not text and entry.mark == "key":
        return " ".join(entry.detail.split("\n"))
    value, low, high = entry.sort, entry.low, entry.high
    if value is None or low is None or high is None or low == high or text == UNKNOWN:
        return text
    half = (high - low) / 2
    if text.endswith(" %"):
        return f"{text[:-2]} ± {100 * half:.2g} %"
    if text[:1] in "+-" or not value:
        return f"{text} ± {half:.2g}"
    share = 100 * half / abs(value)
    return f"{text} ± {share:.0f} %" if share >= 1 else f"{text} ± {share:.1g} %"


def _detail(entry: Entry) -> str:
    if entry.mark == "key":
        return ""
    if entry.mark == "list":
        names = entry.detail.split("\n")
        more = [f"and {len(names) - _MAX_NAMES:,} more"] if len(names) > _MAX_NAMES else []
        return "\n".join([*names[:_MAX_NAMES], *more])
    return entry.detail
