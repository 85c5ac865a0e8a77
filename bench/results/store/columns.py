"""Types of the store's columns, which check what they read: a store may be damaged, edited or a stranger's.

SQLite keeps any type of value in any column, so every value is checked where it leaves the database, and
nowhere else. What is wrong is raised as `Damaged`, which `Store` turns into one line. PostgreSQL has the same
content under types of its own.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, UserDefinedType

from bench.files import MAX_NESTED, parse_json

MAX_TEXT = 2**24
MAX_SAMPLES = 1_000_000
LARGEST = 2**53
"""The largest integer in a store: every one up to it is a float too."""
_HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")  # what stands for bytes that are not UTF-8
_LARGEST_MEASURED = 1e100  # ratios of two such numbers, and their logarithms, are numbers still


class Damaged(ValueError):
    """A value in a store that its column cannot have."""


class _Checked:
    """What all these types have: `place` is the column's name in messages, `optional` allows NULL.

    Both are set where the tables are defined.
    """

    place = ""
    optional = True

    def refuse(self, what: str) -> Damaged:
        return Damaged(f"{self.place} {what}".strip())

    def is_missing(self, value: Any) -> bool:
        """Say whether a value is NULL; raises Damaged where it must not be."""
        if value is None and not self.optional:
            raise self.refuse("is missing")
        return value is None


class Text(_Checked, TypeDecorator[str]):
    """Text; all of it fits `pattern` where one is given."""

    impl = sa.String().with_variant(sa.String(collation="C"), "postgresql")  # the order of SQLite: by bytes
    cache_ok = True

    def __init__(self, pattern: str = "") -> None:
        super().__init__()
        self.pattern = pattern
        self._fits = re.compile(pattern).fullmatch if pattern else None

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """Return a value as text; bytes of a path that are not UTF-8 become `\\udcXX`."""
        if value is None:
            return None
        # A path may hold bytes that are not UTF-8, which Python keeps as lone surrogates.
        text = str(value).encode("utf-8", "backslashreplace").decode()
        return text.replace("\0", "\\x00") if dialect.name == "postgresql" else text

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        """Return the text that was read; raises Damaged for other types, too long text and another form."""
        if self.is_missing(value):
            return None
        if not isinstance(value, str) or len(value) > MAX_TEXT or _has_half_of_a_pair(value):
            raise self.refuse(f"must be text, got {_brief(value)}")
        if self._fits and not self._fits(value):
            raise self.refuse(f"has the form {_brief(value)}")
        return value


class Whole(_Checked, TypeDecorator[int]):
    """An integer from `least` to 2**53."""

    impl = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # an INTEGER of PostgreSQL has 32 bits
    cache_ok = True

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        self.least = least

    def process_result_value(self, value: Any, dialect: Any) -> int | None:
        """Return the integer that was read; raises Damaged for other types and outside of the bounds."""
        if self.is_missing(value):
            return None
        if not isinstance(value, int) or not self.least <= value <= LARGEST:
            raise self.refuse(f"must be an integer from {self.least}, got {_brief(value)}")
        return value


class Real(_Checked, TypeDecorator[float]):
    """A finite number from `least` to `most`."""

    impl = sa.Float
    cache_ok = True

    def __init__(self, least: float = -1e18, most: float = 1e18) -> None:
        super().__init__()
        self.least = least
        self.most = most

    def process_result_value(self, value: Any, dialect: Any) -> float | None:
        """Return the number that was read; raises Damaged for other types and outside of the bounds."""
        if self.is_missing(value):
            return None
        if not isinstance(value, int | float) or not self.least <= value <= self.most:
            raise self.refuse(f"must be a number from {self.least:g} to {self.most:g}, got {_brief(value)}")
        return float(value)


class Measured(_Checked, TypeDecorator[float]):
    """A measured number; one that is not finite, or beyond any measure, is unknown."""

    impl = sa.Float
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> float | None:
        """Return the number to keep, None for one that is not finite or over 1e100 in size."""
        return None if value is None or not is_measurable(value) else float(value)

    def process_result_value(self, value: Any, dialect: Any) -> float | None:
        """Return the number that was read, None as when it is kept; raises Damaged for other types."""
        if self.is_missing(value):
            return None
        if not isinstance(value, int | float):
            raise self.refuse(f"must be a number, got {_brief(value)}")
        return float(value) if is_measurable(value) else None


class _Own(_Checked, UserDefinedType[Any]):
    """A type of ours; SQLAlchemy copies it by its constructor's arguments."""

    cache_ok = True

    def __init__(self, place: str = "", optional: bool = True) -> None:
        self.place = place
        self.optional = optional


class Flag(_Own):
    """Yes or no, kept as 1 or 0."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the column's type in SQL."""
        return "BOOLEAN"

    def bind_processor(self, dialect: Any) -> Callable[[Any], int]:
        """Return what turns a flag into 0 or 1, or into PostgreSQL's own type."""
        return bool if dialect.name == "postgresql" else int

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[Any], bool | None]:
        """Return what reads a flag; it raises Damaged for all but 0 and 1."""
        return self._read

    def _read(self, value: Any) -> bool | None:
        if self.is_missing(value):
            return None
        if value not in (0, 1):
            raise self.refuse(f"must be 0 or 1, got {_brief(value)}")
        return bool(value)


class Samples(_Own):
    """A float64 array, kept as zlib of its little-endian bytes; none of what is empty."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the column's type in SQL."""
        return "BLOB"

    def bind_processor(self, dialect: Any) -> Callable[[Any], bytes | None]:
        """Return what compresses numbers."""
        return _pack_samples

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[Any], np.ndarray | None]:
        """Return what reads samples as float64 (n,).

        It raises Damaged for other bytes, and for more than `MAX_SAMPLES` numbers.
        """
        return self._read

    def _read(self, value: Any) -> np.ndarray | None:
        if self.is_missing(value):
            return None
        if not isinstance(value, bytes):
            raise self.refuse(f"must be compressed samples, got {_brief(value)}")
        unpacker = zlib.decompressobj()
        try:
            content = unpacker.decompress(value, 8 * MAX_SAMPLES)
        except zlib.error as error:
            raise self.refuse(f"must be compressed samples, got other bytes ({error})") from None
        if not unpacker.eof or len(content) % 8:
            raise self.refuse(f"must be whole samples, {MAX_SAMPLES:,} at most")
        return np.frombuffer(content, dtype="<f8")


class Document(_Own):
    """JSON of the shape that a pydantic adapter checks."""

    cache_ok = True

    def __init__(self, shape: TypeAdapter[Any], place: str = "", optional: bool = True) -> None:
        super().__init__(place, optional)
        self.shape = shape

    def get_col_spec(self, **_: Any) -> str:
        """Return the column's type in SQL."""
        return "JSON"

    def bind_processor(self, dialect: Any) -> Callable[[Any], str]:
        """Return what writes JSON; it raises Damaged for content that could not be read again."""
        return self._write

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[Any], Any]:
        """Return what reads JSON; it raises Damaged where that has another shape."""
        return self._read

    def _write(self, content: Any) -> str:
        """Return a document's text, once it is sure that it can be read again."""
        text = json.dumps(content, ensure_ascii=False)
        # Halves of pairs, from paths that are not UTF-8: no JSON that everybody reads has them.
        text = _HALF_OF_A_PAIR.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text)
        self._read(text)
        return text

    def _read(self, text: Any) -> Any:
        if self.is_missing(text):
            return None
        if not isinstance(text, str) or len(text) > MAX_TEXT or _has_half_of_a_pair(text):
            raise self.refuse(f"must be JSON, got {_brief(text)}")
        if text.count("{") + text.count("[") <= MAX_NESTED:
            try:
                return self.shape.validate_json(text)  # in half the time
            except ValidationError:
                pass  # what follows says better what is wrong
        try:
            content = parse_json(text)
        except ValueError as error:
            raise self.refuse(f"must be JSON: {error}") from None
        try:
            return self.shape.validate_python(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise self.refuse(f"{place}: {first['msg']}, got {_brief(first['input'])}".lstrip(": ")) from None


@compiles(Samples, "postgresql")
def _bytes(type_: Samples, compiler: Any, **_: Any) -> str:
    return "BYTEA"


@compiles(Document, "postgresql")
def _text(type_: Document, compiler: Any, **_: Any) -> str:
    # Python writes NaN, which is no JSON to PostgreSQL; a query can cast it: `request::json ->> 'filter'`.
    return "TEXT"


def is_measurable(value: Any) -> Any:
    """Say of a number, or of each of an array, whether it is finite and 1e100 at most in size."""
    return abs(value) <= _LARGEST_MEASURED


def _has_half_of_a_pair(text: str) -> bool:
    return not text.isascii() and _HALF_OF_A_PAIR.search(text) is not None


def _pack_samples(samples: Iterable[float]) -> bytes | None:
    array = np.asarray(tuple(samples), dtype="<f8")
    return zlib.compress(array.tobytes()) if array.size else None


def _brief(value: Any) -> str:
    text = ascii(value[:60] if isinstance(value, str | bytes) else type(value).__name__)
    return text if isinstance(value, str | bytes) else text.strip("'")
