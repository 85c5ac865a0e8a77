"""The cache folder of a data set: where it is, who may write to it, and which files were found to be right.

A cache folder holds the files of its data set, each put there whole by a rename, and beside them
`verified.json`: the SHA-256, size and modification time of each file that was hashed once, here or
elsewhere, so that every worker process need not hash it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.datasets.idx import IdxFile
from bench.errors import DataError
from bench.files import replace_file

VERIFIED = "verified.json"
LOCK = ".lock"

Fingerprint = list[str | int]


def cache_folder(data_set: str) -> Path:
    """Return where the cache of that data set is, whether or not it exists.

    It is in BENCH_CACHE_DIR, else in `dl-efficiency-bench` in XDG_CACHE_HOME, else in ~/.cache.
    """
    if chosen := os.environ.get("BENCH_CACHE_DIR"):
        return Path(chosen).expanduser().absolute() / data_set
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise DataError("data sets need a folder, and there is no home folder; set BENCH_CACHE_DIR") from None
    return root.absolute() / "dl-efficiency-bench" / data_set


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Make the folder and be the only process that writes to it; `waiting` is called if another one is.

    The lock dies with its process. Taking it twice in one thread raises RuntimeError. Raises OSError where
    the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # here, since listing data sets needs no lock

    folder.mkdir(parents=True, exist_ok=True)
    # Preserved, so that it is never a file that merely exists, which would outlive a killed process.
    lock = FileLock(folder / LOCK, preserve_lock_file=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def verified(folder: Path, source: Path, file: IdxFile) -> bytearray:
    """Return the content of `file`, which lies at `source`, there or in another folder; remember its hash.

    What is packed is unpacked into the cache the first time, and read from there later on. Raises
    DataError where the content is wrong.
    """
    content = _remembered(folder, source, file)
    if content is not None:
        return content
    try:
        with locked(folder):
            content = _remembered(folder, source, file)
            return remember(folder, source, file) if content is None else content
    except OSError:
        # A cache that cannot be written costs time, nothing else.
        return file.read(source)


def remember(folder: Path, source: Path, file: IdxFile) -> bytearray:
    """Read and check `source`, keep an unpacked copy if it is packed. Needs the lock."""
    # Taken before reading, so that a change made meanwhile is noticed the next time.
    known = {source: _fingerprint(source, file)}
    content = file.read(source)
    if source.suffix == ".gz":
        copy = folder / file.name
        replace_file(copy, content)
        known[copy] = _fingerprint(copy, file)
    entries = {str(path): entry for path, entry in known.items() if entry is not None}
    replace_file(folder / VERIFIED, json.dumps(_entries(folder) | entries, indent=1).encode())
    return content


def _remembered(folder: Path, source: Path, file: IdxFile) -> bytearray | None:
    """Return the content from `source`, or from its unpacked copy, if both are known to be right."""
    copy = folder / file.name if source.suffix == ".gz" else source
    entries = _entries(folder)
    for path in (source, copy):
        fingerprint = _fingerprint(path, file)
        if fingerprint is None or entries.get(str(path)) != fingerprint:
            return None
    content = bytearray(file.size_bytes)
    try:
        with copy.open("rb") as stream:
            return content if stream.readinto(content) == file.size_bytes else None
    except OSError:
        return None


def _fingerprint(path: Path, file: IdxFile) -> Fingerprint | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [file.sha256, stat.st_size, stat.st_mtime_ns]


def _entries(folder: Path) -> dict[str, object]:
    try:
        entries = json.loads((folder / VERIFIED).read_bytes())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
