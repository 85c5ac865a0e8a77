"""Pages of the documentation: their blocks of code, links and commands, and how each block is tested.

A block is executed as it is, unless a comment before it says otherwise:

- `<!-- test: none, WHY -->`: not at all;
- `<!-- test: checked, WHY -->`: its commands are only checked to exist, with their options and files;
- `<!-- test: dry-run, WHY -->`: its runs are dry runs, in the slow tests too;
- `<!-- test: slow -->`: in the slow tests only;
- `<!-- test: pyproject -->`: its entry-point groups are checked to exist.

A block with a title is a file: it is written, and not executed. `bench run` is a dry run in the default
tests, and a smoke run in the slow ones. Blocks of `text` are output.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
PAGES_FOLDER = ROOT / "docs" / "pages"
README = ROOT / "README.md"

_FENCE = re.compile(
    r"(?:^ *<!-- test: (?P<marker>[^\n]*?) -->\n)?"
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^(?P=indent)```$',
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of code, with the line of the page that it begins at."""

    line: int
    language: str
    title: str
    marker: str
    text: str

    @property
    def how(self) -> str:
        """The marker's first word."""
        return self.marker.partition(",")[0]

    def commands(self) -> list[list[str]]:
        """Return the words of each line of a shell."""
        if self.language != "sh":
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def written_pages() -> dict[str, Path]:
    """Return the pages that are written by hand, by their path in the site, and the README."""
    generated = ("reference/", "project/", "examples/")
    found = {str(path.relative_to(PAGES_FOLDER)): path for path in sorted(PAGES_FOLDER.rglob("*.md"))}
    pages = {name: path for name, path in found.items() if not name.startswith(generated)}
    return {"README.md": README, **pages}


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of code of a page."""
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        parts = {name: value or "" for name, value in found.groupdict().items()}
        yield Block(line, parts["language"], parts["title"], parts["marker"], dedent(parts["text"]))


def without_blocks(text: str) -> str:
    """Return a page without its blocks of code."""
    return _FENCE.sub("", text)


def inline_code(text: str) -> list[str]:
    """Return what stands in code style outside of blocks."""
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


def links(text: str) -> list[str]:
    """Return what a page's links and images refer to."""
    prose = re.sub(r"`[^`\n]+`", "", without_blocks(text))
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
