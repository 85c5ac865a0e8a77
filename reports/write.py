"""Writes a run's report: one HTML page, Markdown, raw tables, plots."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.results.folder import refuse_links
from reports.content import Content, gather
from reports.formats.html import render_html
from reports.formats.markdown import render_markdown

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.store import Store


def write(store: Store, run_id: str, folder: Path, *, complete: bool = False) -> Path:
    """Write `report.html`, `report.md`, `tables/*.csv` and `plots/*` under `folder`; return the page's path.

    Works on a run that is not finished too; `complete` says that it ends with this report. Each file is
    replaced whole, the page last.
    """
    content = gather(store, run_id, complete=complete)
    files = _files(content)
    refuse_links(folder.parent, *(str(Path(folder.name, path).parent) for path, _ in files))
    for path, data in files:
        _replace(folder / path, data)
    return folder / "report.html"


def _files(content: Content) -> list[tuple[str, bytes]]:
    files = [(f"tables/{name}.csv", _as_csv(frame)) for name, frame in content.frames.items()]
    for plot in content.plots:
        files += [(f"plots/{plot.name}.png", plot.png), (f"plots/{plot.name}.svg", plot.svg)]
    files.append(("report.md", render_markdown(content).encode()))
    files.append(("report.html", render_html(content).encode()))
    return files


def _as_csv(frame: pd.DataFrame) -> bytes:
    """Write a frame as CSV; a text that a spreadsheet would compute begins with an apostrophe, as it asks."""
    texts = frame.select_dtypes(include=["object", "string"])
    plain = {str(name): [_as_text(value) for value in column] for name, column in texts.items()}
    return frame.assign(**plain).to_csv(index=False, lineterminator="\n").encode()


def _as_text(value: Any) -> Any:
    computed = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if computed else value


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
