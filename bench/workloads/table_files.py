"""Tables of labelled texts as people have them: CSV and TSV as pandas reads them, JSONL."""

from __future__ import annotations

import codecs
import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.errors import DataError
from bench.formatting import counted
from bench.workloads.input_files import input_files

SEPARATORS = (",", ";", "\t", "|")
_NO_SEPARATORS = '"\r\n\0'
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_SPACES = " \t\n\v\f\r"
_BOOLEANS = {"False": False, "FALSE": False, "false": False, "True": True, "TRUE": True, "true": True}
_NAMED = 12


@dataclass(frozen=True)
class TextRows:
    """Texts with a label each, further columns by name, and what was left out."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    left_out: tuple[str, ...]
    further: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Layout:
    text: str
    label: str
    separator: str | None
    encoding: str
    further: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.text, self.label, *self.further)


def read_texts(
    path: Path,
    text: str,
    label: str,
    separator: str | None,
    encoding: str,
    further: tuple[str, ...] = (),
) -> TextRows:
    """Read columns of a table, all as text; rows without a text or a label are left out.

    What stands for a missing value is what pandas takes for one: an empty field, NaN, NA, null, None and the
    like in CSV, null and NaN, quoted or not, in JSON. Raises DataError where the file or a column cannot be
    read.
    """
    if path.exists():
        input_files(path)
    for setting, column in (("text", text), ("label", label), *(("columns", name) for name in further)):
        if not isinstance(column, str) or not column:
            raise DataError(f"{setting}={column!r} must be the name of a column")
    if separator is not None and not (
        isinstance(separator, str) and len(separator) == 1 and separator not in _NO_SEPARATORS
    ):
        raise DataError(f"separator={separator!r} must be one character, and no quote nor line's end")
    layout = _Layout(text, label, separator, _encoding(path, encoding), further)
    if path.suffix.lower() not in _SUFFIXES:
        raise DataError(f"{path}: a table of texts is one of {', '.join(_SUFFIXES)}")
    is_json = path.suffix.lower() not in (".csv", ".tsv")
    read = _json_lines if is_json else _delimited
    try:
        rows = list(read(path, layout))
    except DataError:
        raise
    except UnicodeError as error:
        hint = f"give its encoding, as encoding='cp1252': {error}"
        raise DataError(f"{path}: cannot be read as {layout.encoding}; {hint}") from None
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]}: {reason}") from None
    whole = [row for row in rows if row[0] and row[1]]
    without = {column: sum(not row[place] for row in rows) for place, column in enumerate((text, label))}
    how = "null, NaN or empty" if is_json else "empty or NaN, as pandas reads NA, None, null"
    left_out = tuple(
        f"{counted(count, 'row')} left out: column {column!r} is {how}"
        for column, count in without.items()
        if count
    )
    texts, labels, *others = zip(*whole, strict=True) if whole else ((),) * len(layout.columns)
    return TextRows(texts, labels, left_out, dict(zip(further, others, strict=True)))


def numbered(labels: Sequence[str]) -> dict[str, str]:
    """Return the class of each label: its own text, and the same for all that write one number or boolean.

    As pandas reads a column: labels are numbers, with spaces around them or not, where all are, and booleans
    where all are. The order is that of class numbers: by value, else by text.
    """
    names = sorted(set(labels))
    value: Callable[[str], Decimal | bool]
    if all(name in _BOOLEANS for name in names):
        value = _BOOLEANS.__getitem__
    elif all(_NUMBER.fullmatch(name.strip(_SPACES)) for name in names):
        value = _decimal
    else:
        return {name: name for name in names}
    first: dict[Decimal | bool, str] = {}
    for name in sorted(names, key=lambda name: name.strip(_SPACES)):
        first.setdefault(value(name), name.strip(_SPACES))
    return {name: first[value(name)] for name in sorted(names, key=value)}


def _decimal(label: str) -> Decimal:
    return Decimal(label.strip(_SPACES))


def _encoding(path: Path, encoding: str) -> str:
    """Return the encoding that the file's byte order mark tells, else the one that was given."""
    try:
        of_texts = codecs.lookup(encoding)._is_text_encoding
    except (LookupError, TypeError, ValueError):
        of_texts = False
    if not of_texts:
        raise DataError(f"encoding={encoding!r} is unknown; give one as 'utf-8' or 'cp1252'")
    if not path.is_file():
        raise DataError(f"{path}: is not a file" if path.exists() else f"{path}: no such file")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    marks = sorted(_MARKS, key=len, reverse=True)
    return next((_MARKS[mark] for mark in marks if start.startswith(mark)), encoding)


def _delimited(path: Path, layout: _Layout) -> Iterator[tuple[str, ...]]:
    import pandas as pd

    separator, head = _head(path, layout)
    for column in layout.columns:
        if head.count(column) > 1:
            raise DataError(f"{path}: has column {column!r} {head.count(column)} times; rename all but one")
    frame = pd.read_csv(path, sep=separator, encoding=layout.encoding, dtype=str)
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(f"{path}: rows have more fields than the {len(head)} columns of the head line")
    columns = frame[list(layout.columns)].fillna("")
    for row in columns.itertuples(index=False, name=None):
        yield tuple(value if value.strip() else "" for value in row)


def _head(path: Path, layout: _Layout) -> tuple[str, list[str]]:
    """Return the separator with which the head line has both columns, and the columns."""
    with path.open(encoding=layout.encoding, newline="") as file:
        lines = (line for line in file if line.strip())
        start = next(lines, "")
    tab_first = ("\t", *SEPARATORS) if path.suffix.lower() == ".tsv" else SEPARATORS
    heads = [
        (separator, next(csv.reader([start], delimiter=separator), []))
        for separator in ((layout.separator,) if layout.separator else tab_first)
    ]
    for separator, head in heads:
        if all(name in head for name in layout.columns):
            return separator, head
    columns = max((head for _, head in heads), key=len)
    missing = next(name for name in layout.columns if name not in columns)
    raise DataError(f"{path}: has no column {missing!r}; it has {_listed(columns)}")


def _json_lines(path: Path, layout: _Layout) -> Iterator[tuple[str, ...]]:
    columns: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    with path.open(encoding=layout.encoding) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number} is not a JSON object: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object, as each line must be")
            columns.update(dict.fromkeys(row))
            rows.append({name: _plain(row.get(name), name, number) for name in layout.columns})
    for name in layout.columns:
        if name not in columns:
            raise DataError(f"{path}: has no column {name!r}; it has {_listed(list(columns))}")
    yield from (tuple(row[name] for name in layout.columns) for row in rows)


def _plain(value: Any, name: str, line: int) -> str:
    """Return a JSON value as text, empty where it is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list | dict):
        raise ValueError(f"line {line}: {name!r} is {type(value).__name__}, not a text or a number")
    return "" if str(value).strip() in ("", "NaN", "nan") else str(value)


def _listed(columns: Sequence[str]) -> str:
    names = ", ".join(str(name)[:40] for name in columns[:_NAMED])
    return (names + (", ..." if len(columns) > _NAMED else "")) or "none"
