"""The results folder: what lies in it, that only one run works in it at a time, and whether it is full."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.errors import BenchError, StoreError
from bench.files import read_json, replace_file

WORK = "work"
"""Requests, results and logs of workers; nothing in it outlives a run."""

COMPILE_CACHE = Path("cache", "inductor")

FOLDER_ID = ".folder"
"""The file with the id that a shared store tells this folder by; it moves with the folder."""

STORE_VARIABLE = "BENCH_STORE"
"""The environment variable with the URL of a shared store, which may hold a password: no worker gets it."""

RUN_FOLDER = re.compile(r"\d{8}-\d{6}-.+")
"""A run's id, which its report's folder is named by."""

_NOT_IN_NAMES = r"/\\\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
RUN_ID = rf"(?!\.|(?:artifacts|baselines|cache|history|work)$)[^{_NOT_IN_NAMES}]{{1,255}}"
"""The form of a run's id: one folder's name, not another's here, which a terminal shows as it is."""

_MAX_NAME = 60

_FOLDERS = ("artifacts/content", "baselines", COMPILE_CACHE.as_posix(), WORK)

_MIN_FREE_BYTES = 2**20

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's errors for a full disk and a quota that is used up."""


def run_name(matrix: str) -> str:
    """Return a matrix's name as it may stand in a run's id."""
    return re.sub(f"[{_NOT_IN_NAMES}]", "_", matrix)[:_MAX_NAME]


def is_full(folder: Path) -> bool:
    """Say whether the folder's disk has so little space left that writes may fail."""
    return shutil.disk_usage(folder).free < _MIN_FREE_BYTES


def tells_of_full_disk(text: str) -> bool:
    """Say whether a program's output has the system's words for a full disk in it."""
    return any(os.strerror(number) in text for number in FULL)


def full_disk(folder: Path) -> StoreError:
    """Return the error of a run that a full disk stops."""
    return StoreError(f"{folder}: no space left; free some and run the same command again: nothing is lost")


def no_space(folder: Path) -> OSError:
    """Return the error that the system gives for a full disk."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def folder_id(results: Path, *, create: bool) -> str:
    """Return the id of a results folder, made where it has none and one is to be created, else empty.

    Raises StoreError where its file holds anything else, or cannot be written.
    """
    path = results / FOLDER_ID
    refuse_links(results, FOLDER_ID)
    try:
        if not path.exists():
            if not create:
                return ""
            replace_file(path, json.dumps(os.urandom(16).hex()).encode())
        found = read_json(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; choose a writable --results") from None
    except ValueError:
        found = None
    if not isinstance(found, str) or not re.fullmatch("[0-9a-f]{32}", found):
        raise StoreError(f"{path}: not the id of a results folder; remove it, and the folder gets a new one")
    return found


@contextmanager
def alone_in(results: Path) -> Iterator[None]:
    """Hold the results folder for this process; raises BenchError where a run has it."""
    from filelock import lock_descriptor  # here, since workers that import this module take no lock

    with _open_lock(results) as lock:
        refuse_links(results, *_FOLDERS)
        for folder in ("artifacts", "artifacts/content"):
            refuse_links(results, *(f"{folder}/{shard.name}" for shard in (results / folder).glob("??")))
        # Closing the file, or the end of the process, releases it.
        if not lock_descriptor(lock.fileno(), blocking=False):
            raise BenchError(f"{results}: another run is using this folder; wait or use another --results")
        yield


def is_in_use(results: Path) -> bool:
    """Say whether a run works in the folder now; nothing is written."""
    from filelock import lock_descriptor

    try:
        lock = os.open(results / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # none ever has
        return False
    try:
        return not lock_descriptor(lock, blocking=False)
    finally:
        os.close(lock)


def refuse_file(results: Path) -> None:
    """Raise StoreError where the folder, or one above it, is a file."""
    for path in (results, *results.parents):
        if path.exists() and not path.is_dir():
            raise StoreError(f"--results {results}: {path} is a file; choose a folder")


def refuse_bytes(results: Path) -> None:
    """Raise StoreError where the folder's path is not UTF-8: no runtime's library opens files under it."""
    try:
        str(results.absolute()).encode()
    except UnicodeEncodeError:
        raise StoreError(f"--results {results}: its path must be UTF-8; choose another folder") from None


def refuse_links(results: Path, *names: str) -> None:
    """Raise StoreError where one of these paths in the folder leads out of it through a link.

    A results folder may come from somebody else; nothing is written or deleted through its links.
    """
    for name in names:
        path = results
        for part in Path(name).parts:
            path = path / part
            if path.is_symlink():
                raise StoreError(
                    f"{path}: must be a folder or file of the results folder, not a link; "
                    "remove it, or make --results itself the link"
                )


def check_writable(results: Path) -> None:
    """Make the folder; raises StoreError where it cannot be written."""
    _open_lock(results).close()


def _open_lock(results: Path) -> IO[str]:
    """Open the file that a run locks; raises StoreError where the folder cannot be written."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        # Neither emptied nor followed: a stranger's folder may have a link or a pipe in its place. `FileLock`
        # opens such a pipe, and does not say what is wrong with a link.
        refuse_links(results, ".lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        lock = os.fdopen(os.open(results / ".lock", flags, 0o644))
    except OSError as error:
        raise StoreError(f"{results}: {error.strerror}; choose a writable --results") from None
    if not stat.S_ISREG(os.fstat(lock.fileno()).st_mode):
        lock.close()
        raise StoreError(f"{results / '.lock'}: must be a file; remove it")
    return lock
