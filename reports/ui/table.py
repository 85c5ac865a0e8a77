"""Tables that are filtered, sorted and cut to a page here, and not in the browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from bench.errors import BenchError
from techniques.registry import nearest

PAGE_ROWS = 100
MAX_CHOICES = 200
"""A column with more distinct values gets no list to choose from: the search finds them."""

_RESERVED = ("q", "sort", "down", "page")


@dataclass(frozen=True)
class Cell:
    """A field of a table: its text, where it leads, a longer text on hover, and a mark (a CSS class)."""

    text: str
    link: str = ""
    title: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Query:
    """What a table is asked for: words that a row must have, values by column, an order, a page from 1 on."""

    words: str = ""
    chosen: Mapping[str, str] = field(default_factory=dict)
    sort: str = ""
    down: bool = False
    page: int = 1

    def link(self, **changes: Any) -> str:
        """Return the query with some of it changed, as the end of a URL."""
        own = {"q": self.words, **self.chosen, "sort": self.sort, "down": "1" if self.down else ""}
        asked = {**own, "page": str(self.page), **{name: str(value) for name, value in changes.items()}}
        return "?" + urlencode({name: value for name, value in asked.items() if value})


def parse_query(parameters: Mapping[str, str], columns: Sequence[str]) -> Query:
    """Read a URL's parameters; raises BenchError for an unknown column, or a page that is no number."""
    chosen = {name: value for name, value in parameters.items() if name not in _RESERVED and value}
    sort = parameters.get("sort", "")
    for name in (*chosen, *([sort] if sort else [])):
        if name not in columns:
            raise BenchError(f"no column {name!r}{nearest(name, columns)}")
    page = parameters.get("page") or "1"
    if not page.isdecimal() or not 0 < int(page) < 10**9:
        raise BenchError(f"page={page!r} must be a number from 1 on")
    return Query(parameters.get("q", ""), chosen, sort, bool(parameters.get("down")), int(page))


@dataclass(frozen=True)
class Found:
    """The rows of one page, how many rows there are on all pages, and how many pages that makes."""

    rows: pd.DataFrame
    total: int
    pages: int


def select(frame: pd.DataFrame, query: Query, searched: str) -> Found:
    """Return the page of a frame's rows that a query asks for.

    Every word of `query.words` must stand in the column `searched`, in whatever case. What is unknown sorts
    last, both ways.
    """
    kept = pd.Series(True, index=frame.index)
    for column, value in query.chosen.items():
        kept &= frame[column].map(str) == value
    text = frame[searched].str.casefold()
    for word in query.words.casefold().split():
        kept &= text.str.contains(word, regex=False)
    rows = frame[kept]
    if query.sort:
        rows = rows.sort_values(query.sort, ascending=not query.down, kind="stable", na_position="last")
    pages = max(1, -(-len(rows) // PAGE_ROWS))
    first = (min(query.page, pages) - 1) * PAGE_ROWS
    return Found(rows.iloc[first : first + PAGE_ROWS], len(rows), pages)


def choices(frame: pd.DataFrame, columns: Iterable[str]) -> dict[str, list[str]]:
    """Return the values to choose from, of those columns that have more than one and not too many."""
    found = {column: sorted(frame[column].map(str).unique()) for column in columns}
    return {column: values for column, values in found.items() if 1 < len(values) <= MAX_CHOICES}
