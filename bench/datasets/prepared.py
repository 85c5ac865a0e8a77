"""Arrays that are slow to make from a data set's files: made once, kept in its cache folder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets.cache import cache_folder, locked
from bench.digests import source_digest
from bench.files import replace_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.generic]]


def prepared(data_set: str, source: str, make: Callable[[], Arrays]) -> Arrays:
    """Return what `make` makes, from the cache if it was made before by the same code.

    `source` is the file of that code (`__file__`): another version of it, or of a module of ours that it
    leads to, makes them again. Where the cache
    cannot be written they are made each time. Arrays of objects are refused: nothing is pickled.
    """
    version = source_digest(source)[:12]
    folder = cache_folder(data_set)
    path = folder / f"prepared-{Path(source).stem}-{version}.npz"
    kept = _read(path)
    if kept is not None:
        return kept
    try:
        with locked(folder):
            kept = _read(path)
            if kept is None:
                kept = make()
                _write(path, kept)
            return kept
    except OSError:
        return make()


def _read(path: Path) -> Arrays | None:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    import numpy as np

    for old in path.parent.glob(f"{path.name.rpartition('-')[0]}-*.npz"):
        old.unlink()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    replace_file(path, buffer.getvalue())
