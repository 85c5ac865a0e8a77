"""`tables/*.csv`: the frames for spreadsheets and `pandas.read_csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reports.formats.encoded import encoded
from reports.formats.table import FORMATS, File

if TYPE_CHECKING:
    import pandas as pd

    from reports.content import Content


def render(content: Content) -> Iterator[File]:
    """Yield a file for each frame."""
    for name, frame in content.frames.items():
        yield f"tables/{name}.csv", as_csv(frame)


def as_csv(frame: pd.DataFrame) -> bytes:
    """Write a frame as CSV; a text that a spreadsheet would compute begins with an apostrophe, as it asks."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(frame.columns)
    columns = (encoded(column, _as_text, "") for _, column in frame.items())
    writer.writerows(zip(*columns, strict=True))
    return file.getvalue().encode()


def _as_text(value: Any) -> str:
    computed = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if computed else str(value)


FORMATS.add(
    "csv",
    render,
    about="tables/*.csv: raw numbers, a file for each table",
    draws=False,
    raw=True,
    owns=("tables/*.csv",),
)
