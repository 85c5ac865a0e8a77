"""`tables.xlsx`: a sheet for each table, and one that says what each column is. Requires openpyxl."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from typing import Any

from bench.formatting import visible
from reports.content import Content
from reports.formats.table import FORMATS, File, required
from reports.frames.columns import about, unit_in
from reports.frames.view import records

_COLUMNS = "columns"
"""The sheet that explains the others."""

_MAX_NAME = 31
_MAX_TEXT = 32_767
"""Characters that Excel allows in a sheet's name and in a cell."""

_MAX_ROWS = 1_048_575
"""Rows of a sheet under its headings."""

_MAX_WIDTH = 40


def render(content: Content) -> Iterator[File]:
    """Yield the one file; raises BenchError without openpyxl."""
    openpyxl = required("openpyxl", "export", "--format excel")
    book = openpyxl.Workbook(write_only=True)
    explained: list[tuple[Any, ...]] = []
    for name, frame in content.frames.items():
        columns = [str(column) for column in frame.columns]
        rows = records(frame)[:_MAX_ROWS]
        _sheet(book, name, columns, (tuple(row.values()) for row in rows))
        texts = {column for column in columns if any(isinstance(row[column], str) for row in rows)}
        explained += [
            (name, column, "" if column in texts else unit_in(name, column), about(name, column))
            for column in columns
        ]
    _sheet(book, _COLUMNS, ["table", "column", "unit", "what it is"], explained)
    file = io.BytesIO()
    book.save(file)
    yield "tables.xlsx", file.getvalue()


def _sheet(book: Any, name: str, columns: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Add a sheet whose headings stay in sight and filter the rows."""
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(name[:_MAX_NAME])
    sheet.freeze_panes = "A2"
    for number, column in enumerate(columns, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = min(_MAX_WIDTH, len(column) + 4)
    headings = [_cell(sheet, column) for column in columns]
    for heading in headings:
        heading.font = Font(bold=True)
    sheet.append(headings)
    count = 1
    for row in rows:
        count += 1
        sheet.append([_cell(sheet, value) for value in row])
    if columns:
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(columns))}{count}"


def _cell(sheet: Any, value: Any) -> Any:
    """Return a value as a cell: a text is never a formula, and a number that is not finite is a text."""
    from openpyxl.cell import WriteOnlyCell

    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        value = None if math.isnan(value) else str(value)
    if not isinstance(value, str) or not value:
        return WriteOnlyCell(sheet, value or None if isinstance(value, str) else value)
    cell = WriteOnlyCell(sheet, visible(value)[:_MAX_TEXT])
    cell.data_type = "s"
    return cell


FORMATS.add(
    "excel",
    render,
    about="tables.xlsx: a sheet for each table, and one with units and meanings",
    on_request=True,
    draws=False,
)
