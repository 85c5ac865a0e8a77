"""Pieces of Markdown: tables, code, headings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

GENERATED = "<!-- Written by docs/reference from the code. -->"


def assemble(title: str, *parts: str) -> str:
    """Return a page: its title, then its parts with a blank line between them."""
    return "\n\n".join([GENERATED, f"# {title}", *(part for part in parts if part)])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    # A bar ends a cell, unless it stands in code.
    parts = re.split(r"(`[^`]*`)", text.replace("\n", " "))
    return "".join(part if part.startswith("`") else part.replace("|", "\\|") for part in parts)


def code(text: object) -> str:
    """Return text in code style; nothing for none."""
    return f"`{text}`" if str(text) else ""


def codes(words: Iterable[object]) -> str:
    """Return several words in code style, with commas."""
    return ", ".join(code(word) for word in words)


def block(text: str, language: str = "python") -> str:
    """Return a block of code that no test runs: it shows signatures."""
    return f"<!-- test: none, a signature -->\n```{language}\n{text.strip()}\n```"


def prose(text: str) -> str:
    """Return text with what Markdown would read as a tag escaped."""
    return text.replace("<", "&lt;")


def docstring(thing: object) -> str:
    """Return a thing's docstring as paragraphs."""
    return prose(inspect.cleandoc(thing.__doc__ or ""))
