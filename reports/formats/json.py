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

from reports.formats.table import FORMATS, File
from reports.frames.columns import about, unit_in
from reports.frames.view import plain_list

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
        "tables": {},
    }
    tables = ",\n".join(_table_text(name, frame) for name, frame in content.frames.items())
    whole = _text(document).removesuffix("{}\n}")
    yield "report.json", (f"{whole}{{\n{tables}\n }}\n}}\n" if tables else f"{_text(document)}\n").encode()


def as_table(frame: pd.DataFrame, table: str = "") -> dict[str, Any]:
    """Return a frame as JSON with its columns' types and units, by the name of the `table`."""
    columns = _columns(frame)
    fields = [_field(table, name, values) for name, values in columns.items()]
    rows = zip(*columns.values(), strict=True)
    return {"fields": fields, "data": [dict(zip(columns, row, strict=True)) for row in rows]}


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): [_plain(value) for value in plain_list(column)] for name, column in frame.items()}


def _text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)


def _table_text(name: str, frame: pd.DataFrame) -> str:
    """Write a table as an entry of `tables`, as `_text` of the whole would, in a tenth of its time.

    That encodes value by value in Python where it indents; here a row is filled into a template.
    """
    columns = _columns(frame)
    fields = _text([_field(name, column, values) for column, values in columns.items()])
    keys = (f"{_text(column).replace('%', '%%')}: %s" for column in columns)
    template = "    {\n     " + ",\n     ".join(keys) + "\n    }"
    rows = ",\n".join(template % row for row in zip(*map(_encoded, columns.values()), strict=True))
    data = f"[\n{rows}\n   ]" if rows else "[]"
    return f'  {_text(name)}: {{\n   "fields": {_indented(fields)},\n   "data": {data}\n  }}'


def _encoded(values: list[Any]) -> list[str]:
    """Encode a column: unknown values, numbers and texts by short cuts, and each text once."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    texts = {value: encode(value) for value in {value for value in values if isinstance(value, str)}}
    return [
        "null"
        if value is None
        else float.__repr__(value)  # as the encoder does
        if type(value) is float
        else texts[value]
        if isinstance(value, str)
        else encode(value)
        for value in values
    ]


def _indented(text: str) -> str:
    return text.replace("\n", "\n   ")


def _field(table: str, name: str, values: list[Any]) -> dict[str, str]:
    kinds = {type(value) for value in values} - {NoneType}
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
    if isinstance(value, str) or value is None:
        return value
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


FORMATS.add(
    "json", render, about="report.json: verdict, answers and all tables with their units", draws=False
)
