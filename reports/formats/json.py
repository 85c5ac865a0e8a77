"""`report.json`: what the run says and all of its frames, for programs.

Each table is `{"fields": [...], "data": [...]}`, as a Table Schema (specs.frictionlessdata.io): `fields` name
each column with its type, and its unit where it has one; `data` has a row as an object, null for what is
unknown. `pandas.DataFrame(report["tables"]["inference"]["data"])` is the table again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.formats.encoded import encoded
from reports.formats.table import FORMATS, File
from reports.frames.columns import about, unit_in
from reports.frames.view import plain_list

if TYPE_CHECKING:
    from reports.content import Content

VERSION = 1

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_KINDS = {"b": "boolean", "i": "integer", "u": "integer"}


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
        "tables": {},
    }
    tables = ",\n".join(_table_text(name, frame) for name, frame in content.frames.items())
    whole = _text(document).removesuffix("{}\n}")
    yield "report.json", (f"{whole}{{\n{tables}\n }}\n}}\n" if tables else f"{_text(document)}\n").encode()


def _text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)


def _table_text(name: str, frame: pd.DataFrame) -> str:
    """Write a table as an entry of `tables`, as `_text` of the whole would, in a small part of its time.

    That encodes value by value in Python where it indents; here each distinct value of a column is encoded
    once, with the column's name before it.
    """
    fields = _text([_field(name, str(column), values) for column, values in frame.items()])
    columns = (_entries(str(column), values) for column, values in frame.items())
    rows = ",\n".join(
        f"    {{\n     {row}\n    }}" for row in map(",\n     ".join, zip(*columns, strict=True))
    )
    data = f"[\n{rows}\n   ]" if rows else "[]"
    return f'  {_text(name)}: {{\n   "fields": {_indented(fields)},\n   "data": {data}\n  }}'


def _entries(name: str, column: pd.Series) -> list[str]:
    """Return a column's values as entries of the objects that rows are."""
    encode, key = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode, f"{_text(name)}: "
    return encoded(column, lambda value: key + encode(_plain(value)), f"{key}null")


def _indented(text: str) -> str:
    return text.replace("\n", "\n   ")


def _field(table: str, name: str, column: pd.Series) -> dict[str, str]:
    kind = _type(column)
    unit = "" if kind == "string" else unit_in(table, name)
    description = about(table, name)
    return {
        "name": name,
        "type": kind,
        **({"unit": unit} if unit else {}),
        **({"description": description} if description else {}),
    }


def _type(column: pd.Series) -> str:
    """Return the type of a column's values as a Table Schema has it, `any` of several and of none."""
    if column.dtype.kind == "f":
        return "number" if np.isfinite(column.to_numpy(dtype=float, na_value=np.nan)).any() else "any"
    if column.dtype != object and column.notna().any():
        return "string" if isinstance(column.dtype, pd.StringDtype) else _KINDS.get(column.dtype.kind, "any")
    one_of_each = {type(value): value for value in plain_list(column)}
    kinds = {type(_plain(value)) for value in one_of_each.values()} - {NoneType}
    if kinds == {int, float}:
        return "number"
    return _TYPES.get(next(iter(kinds)), "any") if len(kinds) == 1 else "any"


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no types of NumPy, and null for a number that is not finite."""
    if isinstance(value, str) or value is None:
        return value
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


FORMATS.add(
    "json",
    render,
    about="report.json: verdict, answers and all tables with their units",
    draws=False,
    raw=True,
    owns=("report.json",),
)
