"""The folder of artifacts: each whole or not there at all, none with a pickle in it.

An artifact is written beside its place, synced to disk and renamed. It carries the record of the stage that
made it, so that whatever finds it can tell what it is and whether a bit of it has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECORD = "record.json"


def artifact_folder(results: Path, key: str) -> Path:
    """Return where the artifact of that key lies, or will."""
    return results / "artifacts" / key[:2] / key


@contextmanager
def beside(results: Path, key: str) -> Iterator[Path]:
    """Give an empty folder to write an artifact into; it goes when the block ends, unless published."""
    place = artifact_folder(results, key)
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = place.with_name(f"{key}.{os.getpid()}.part")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, results: Path, key: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Sync the folder, add its record, and rename it into place; returns its entry for the store."""
    sha256, size = digest(folder)
    entry = {"sha256": sha256, "bytes": size, "created_s": time.time()}
    (folder / RECORD).write_text(json.dumps({**record, "artifact": entry}))
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)
    place = artifact_folder(results, key)
    if place.exists():
        # Left by a launch that ended before the runner could enter it, and found wanting.
        shutil.rmtree(place)
    folder.rename(place)
    _sync(place.parent)
    return entry


def read_record(results: Path, key: str) -> dict[str, Any] | None:
    """Return the record of an artifact whose content is what its record says, else None."""
    folder = artifact_folder(results, key)
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        return record if digest(folder)[0] == record["artifact"]["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digest(folder: Path) -> tuple[str, int]:
    """Return the SHA-256 over names and contents of a folder's files, less its record, and their bytes."""
    total = hashlib.sha256()
    size = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != RECORD:
            content = path.read_bytes()
            size += len(content)
            total.update(path.relative_to(folder).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(content).digest())
    return total.hexdigest(), size


def clear_unfinished(results: Path) -> None:
    """Remove what killed launches left beside the artifacts; no other run may be writing."""
    for folder in results.glob("artifacts/*/*.part"):
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
