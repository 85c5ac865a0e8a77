"""What a user means by a run: its id in the results folder, or a path of a run or of another folder."""

from __future__ import annotations

import os
from pathlib import Path

from bench.errors import BenchError
from bench.results.folder import RUN_FOLDER
from bench.results.store.sqlite import STORE_NAME


def place_of(run: str, results: Path, url: str = "") -> tuple[Path, str]:
    """Return the results folder and the run that a text names; the run is empty for all of the folder.

    An id, or its beginning, is of `results`. A path is a results folder's or, in it, that of a run's own
    folder. With the `url` of a shared store the last part of a path is a run if it looks like an id. Raises
    BenchError where a path is neither.
    """
    path = Path(run)
    if url:
        if os.sep not in run:
            return results, run
        return (path.parent, path.name) if RUN_FOLDER.fullmatch(path.name) else (path, "")
    if _has_store(path):
        return path, ""
    if _has_store(path.parent) and (os.sep in run or _is_folder(path)):
        return path.parent, path.name
    if os.sep in run:
        raise BenchError(f"{run}: must be a results folder, or the folder of a run in one: no {STORE_NAME}")
    return results, run


def _has_store(folder: Path) -> bool:
    return _exists(folder / STORE_NAME)


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # of a name that no file can have
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
