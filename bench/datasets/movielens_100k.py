"""MovieLens 100K (Harper & Konstan 2015, "The MovieLens Datasets"): 100,000 ratings of films, 1997 and 1998.

GroupLens forbids to pass it on, and to use it for revenue without permission: everybody gets it from there.
It is looked for in BENCH_DATA_DIR, then in the cache. A file in BENCH_DATA_DIR is checked for its format
only, so that another of the same form serves too.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets import sources
from bench.datasets.cache import cache_folder, locked
from bench.errors import DataError
from bench.files import replace_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Say = Callable[[str], None]

NAME = "movielens-100k"
FILE = "u.data"
CONTENT_SHA256 = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
UPSTREAM = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
ARCHIVE_BYTES = 4_924_029
MEMBER = "ml-100k/u.data"

USERS = 943
ITEMS = 1_682


@dataclass(frozen=True)
class Ratings:
    """One entry for each rating, in the file's order, which is random; int64 of shape (n,).

    Users and items count from 0, stars are 1 to 5, times are seconds since 1970.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    stars: NDArray[np.int64]
    times: NDArray[np.int64]


def ways() -> str:
    """Say how to get the data set by hand."""
    return (
        f"set BENCH_DATA_DIR to a folder that has {NAME}/{FILE}, or download {UPSTREAM} "
        f"and put its {MEMBER} into {cache_folder(NAME)}"
    )


def locate() -> Path | None:
    """Return the file in BENCH_DATA_DIR, else the one in the cache, or None."""
    chosen = os.environ.get("BENCH_DATA_DIR")
    given = [Path(chosen).expanduser().absolute() / NAME / FILE] if chosen else []
    return next((path for path in (*given, _cached()) if path.is_file()), None)


def fetch(say: Say) -> Path:
    """Return the file, checked, got from GroupLens if need be."""
    if locate() is None:
        try:
            with locked(_cached().parent, lambda: say(f"waiting for another process that gets {NAME}")):
                if not _cached().is_file():
                    _download(say)
        except OSError as error:
            raise DataError(f"{NAME} cannot be stored in the cache: {error}; set BENCH_CACHE_DIR") from None
    load()
    path = _here()
    say(f"{NAME} is in {path}")
    return path


def load() -> Ratings:
    """Return the ratings; raises DataError where the file is not here, or not what it should be."""
    import numpy as np

    path = _here()
    content = path.read_bytes()
    if path == _cached():
        _check(content, str(path))
    try:
        table = np.loadtxt(content.decode().splitlines(), dtype=np.int64, ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: {error}; expected lines of user, item, stars, time") from None
    if table.shape[1] != 4:
        raise DataError(f"{path}: has {table.shape[1]} columns, expected user, item, stars, time")
    users, items, stars, times = table.T.copy()
    for name, numbers, most in (("users", users, USERS), ("items", items, ITEMS), ("stars", stars, 5)):
        if numbers.min() < 1 or numbers.max() > most:
            raise DataError(f"{path}: {name} are {numbers.min()} to {numbers.max()}, expected 1 to {most}")
    if len(np.unique(users * (ITEMS + 1) + items)) < len(users):
        raise DataError(f"{path}: a user rated an item twice")
    return Ratings(users - 1, items - 1, stars, times)


def _cached() -> Path:
    return cache_folder(NAME) / FILE


def _here() -> Path:
    path = locate()
    if path is None:
        raise DataError(f"{NAME} is not downloaded: run `bench data get {NAME}`, or {ways()}")
    return path


def _download(say: Say) -> None:
    """Fill the cache. Needs the lock."""
    archive = _cached().with_name("archive.partial")
    say(f"getting {NAME} from {UPSTREAM}")
    try:
        sources.download(UPSTREAM, archive, at_most_bytes=ARCHIVE_BYTES)
        with zipfile.ZipFile(archive) as file:
            content = file.read(MEMBER)
        _check(content, UPSTREAM)
        replace_file(_cached(), content)
    except (DataError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{NAME} is unavailable: {ways()} ({error})") from None
    finally:
        archive.unlink(missing_ok=True)


def _check(content: bytes, origin: str) -> None:
    found = sha256(content).hexdigest()
    if found != CONTENT_SHA256:
        raise DataError(f"{origin}: {FILE} has SHA-256 {found}, expected {CONTENT_SHA256}")
