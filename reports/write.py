"""Writes a run's report as files, in every format of `reports.formats`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.collector import collector
from bench.files import replace_file
from bench.results.folder import refuse_links
from reports.content import Content, gather
from reports.formats.table import FORMATS, Format, refuse_outside

if TYPE_CHECKING:
    from bench.results.store import Store


def write(store: Store, run_id: str, folder: Path, *, complete: bool = False) -> Path:
    """Write a run's report under `folder`; return its page, `report.html`.

    Works on a run that is not finished too; `complete` says that it ends with this report.
    """
    return write_content(gather(store, run_id, complete=complete), folder)


def formats_of(content: Content) -> list[Format]:
    """Return the formats that are part of a report: raw tables are none of that of very many cells."""
    rows = (row for row in FORMATS.rows() if not row.on_request)
    return [row for row in rows if not (row.raw and content.left_out)]


def write_content(content: Content, folder: Path) -> Path:
    """Write a report in every format that is part of it under `folder`; return its page.

    Nothing is written before all of it is made; then each file is replaced whole, the page last. Files of an
    earlier report that this one no longer has, as tables of a run that grew too large for them, are removed.
    """
    files = []
    with collector(on=False):
        for format_ in formats_of(content):
            for path, data in format_.render(content):
                refuse_outside(format_, path)
                files.append((path, data))
    owned = [pattern for format_ in FORMATS.rows() for pattern in format_.owns]
    paths = (*(path for path, _ in files), *owned)
    refuse_links(folder.parent, *dict.fromkeys(str(Path(folder.name, path).parent) for path in paths))
    for path, data in files:
        replace_file(folder / path, data)
    _remove_stale(folder, owned, {folder / path for path, _ in files})
    return folder / "report.html"


def _remove_stale(folder: Path, owned: Iterable[str], written: Collection[Path]) -> None:
    """Remove what matches a pattern and was not written now."""
    for path in (path for pattern in owned for path in folder.glob(pattern)):
        if path not in written:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # of a folder that still has files
                if path.parent != folder:
                    path.parent.rmdir()
