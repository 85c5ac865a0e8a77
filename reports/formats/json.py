"""`report.json`: what the run says and all of its frames, for programs.

Each table is `{"fields": [...], "data": [...]}`, as a Table Schema (specs.frictionlessdata.io): `fields` name
each column with its type, and its unit where it has one; `data` has a row as an object, null for what is
unknown. `pandas.DataFrame(report["tables"]["inference"]["data"])` is the table again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reports.formats.table import FORMATS, File
from reports.frames.columns import about, unit_in
from reports.frames.view import records

if TYPE_CHECKING:
    import pandas as pd

    from reports.content import Content

VERSION = 1

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def render(content: Content) -> Iterator[File]:
    """Yield the one file."""
    document = {
        "version": VERSION,
        "title": content.title,
        "about": [{"name": name, "value": value} for name, value in content.about],
        "verdict": list(content.verdict),
        "answers": [
            {"question": answer.question, "sentences": list(answer.sentences)} for answer in content.answers
        ],
        "tables": {name: as_table(frame, name) for name, frame in content.frames.items()},
    }
    yield "report.json", (json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def as_table(frame: pd.DataFrame, table: str = "") -> dict[str, Any]:
    """Return a frame as JSON with its columns' types and units, by the name of the `table`."""
    rows = [{name: _plain(value) for name, value in row.items()} for row in records(frame)]
    return {"fields": [_field(table, str(name), rows) for name in frame.columns], "data": rows}


def _field(table: str, name: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    kinds = {type(row[name]) for row in rows if row[name] is not None}
    kind = float if kinds == {int, float} else next(iter(kinds)) if len(kinds) == 1 else None
    unit = "" if kind is str else unit_in(table, name)
    description = about(table, name)
    return {
        "name": name,
        "type": _TYPES.get(kind, "any") if kind else "any",
        **({"unit": unit} if unit else {}),
        **({"description": description} if description else {}),
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no types of NumPy, and null for a number that is not finite."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


FORMATS.add(
    "json", render, about="report.json: verdict, answers and all tables with their units", draws=False
)
