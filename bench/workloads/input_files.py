"""The files of a model or data set that a user names: listed, and refused where too large to hash."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bench.digests import MAX_GIB_VARIABLE, max_input_gib
from bench.errors import BenchError

_MAX_FILES = 100_000


def input_files(path: Path) -> list[Path]:
    """Return the file, or all files below the folder, sorted by name.

    Raises BenchError where the path is neither, or where its files are too many or too large together: a
    sparse file of any size, or a folder that holds far more than a model, would be read for hours.
    """
    if path.is_dir():
        files = sorted(_files_below(path))
    elif path.is_file():
        files = [path]
    else:
        raise BenchError(f"{path}: must be a file or a folder")  # a pipe would be waited for
    bytes_ = sum(file.stat().st_size for file in files)
    most = max_input_gib()
    if bytes_ > most * 2**30:
        raise BenchError(
            f"{path}: {bytes_ / 2**30:,.0f} GiB is more than the {most:g} GiB that a model or data set "
            f"may have; name a smaller one, or set {MAX_GIB_VARIABLE}"
        )
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield each regular file below a folder; a link to a folder is not followed, one to a file is."""
    found = 0
    for directory, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            file = Path(directory, name)
            if not _is_regular(file):
                continue
            found += 1
            if found > _MAX_FILES:
                raise BenchError(f"{folder}: has more than {_MAX_FILES:,} files; name a folder of one model")
            yield file


def _is_regular(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except FileNotFoundError:  # a link to nothing
        return False


def _raise(error: OSError) -> None:
    raise error
