"""Which pages are generated, and from what."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.reference import commands, matrix, metrics, protocols, python, tables, techniques, workloads

ROOT = Path(__file__).resolve().parents[2]
PAGES_FOLDER = ROOT / "docs" / "pages"

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/commands.md": commands.page,
    "reference/matrix.md": matrix.page,
    "reference/metrics.md": metrics.page,
    "reference/tables.md": tables.page,
    "reference/techniques.md": techniques.page,
    "reference/workloads.md": workloads.page,
    "reference/python.md": python.page,
    "reference/protocols.md": protocols.page,
}
"""Each generated page's path below the folder of pages, and the function that returns its text."""

PROJECT = {
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/security.md": "SECURITY.md",
}
"""Pages that are files of the repository's root, by their path below the folder of pages."""

EXAMPLES = "results/examples"
"""The folder of figures and tables of real runs; the site has a copy of it, as `examples`."""


def write_pages(folder: Path = PAGES_FOLDER) -> None:
    """Write every generated page below `folder`, and copy the files that pages show."""
    for path, page in PAGES.items():
        _write(folder / path, page())
    for path, source in PROJECT.items():
        _write(folder / path, _moved((ROOT / source).read_text()))
    shutil.copytree(ROOT / EXAMPLES, folder / "examples", dirs_exist_ok=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip() + "\n")


def _moved(text: str) -> str:
    """Return the text of a file of the root with its links as they are from `project/`."""
    names = {source: Path(path).name for path, source in PROJECT.items()}
    for source, name in names.items():
        text = text.replace(f"]({source}", f"]({name}")
    text = re.sub(r"\]\(docs/pages/", "](../", text)
    # What is no page of the site, such as the licence or a source file, is named without a link.
    kept = "|".join(("https?:", "mailto:", "#", r"\.\./", *names.values()))
    return re.sub(rf"\[([^\]]+)\]\((?!{kept})[^)]*\)", r"\1", text)
