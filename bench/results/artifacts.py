"""The folder of artifacts: each is complete or absent, and none contains a pickle.

An artifact is written next to its place, synced to disk and renamed. It carries the record of the stage that
made it, so that whatever finds it can tell what it is and whether a bit of it has changed. Files that are
equal in several artifacts are kept once: each is a hard link to the one under the hash of its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.files import read_json
from bench.records import Artifact, Measurement, as_json, read_as
from bench.results.folder import is_full, no_space

RECORD = "record.json"

_KEY = re.compile("[0-9a-f]{64}")


def is_key(text: str) -> bool:
    """Say whether a text has the form of a key or of a content's hash, 64 hexadecimal digits."""
    return _KEY.fullmatch(text) is not None


def artifact_folder(results: Path, key: str) -> Path:
    """Return where the artifact of that key lies, or will."""
    return results / "artifacts" / key[:2] / key


def artifact_folders(results: Path) -> Iterator[Path]:
    """Yield the folder of each artifact that is there, sorted by key."""
    for folder in sorted(_entries(results / "artifacts")):
        if is_key(folder.name):
            yield folder


def content_file(results: Path, sha256: str) -> Path:
    """Return where content of that hash is kept for all artifacts that have it, or will be."""
    return results / "artifacts" / "content" / sha256[:2] / sha256


def content_files(results: Path) -> Iterator[Path]:
    """Yield each file that is kept under the hash of its content."""
    for file in _entries(results / "artifacts" / "content"):
        if is_key(file.name) and file.is_file() and not file.is_symlink():
            yield file


@dataclass(frozen=True, kw_only=True)
class Making:
    """How an artifact was made: the stage's request, the inputs that it read, what it measured.

    `inputs` are as `bench.identity.discovered` has them; `body_s` is the stage's own work.
    """

    kind: str = ""
    label: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    body_s: float = 0.0
    measurements: tuple[Measurement, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ArtifactRecord(Making):
    """The record that lies in an artifact's folder."""

    artifact: Artifact


@contextlib.contextmanager
def writing(results: Path, key: str) -> Iterator[Path]:
    """Yield an empty folder to write an artifact into; the end of the block removes it, unless published.

    Whatever the block raises while the disk is full becomes OSError (ENOSPC).
    """
    place = artifact_folder(results, key)
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = place.with_name(f"{key}.{os.getpid()}.part")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    except Exception as error:
        if is_full(folder):
            # While the torn files still fill it: libraries call a full disk many things.
            raise no_space(folder) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, results: Path, key: str, making: Making) -> Artifact:
    """Sync the folder, add its record, and rename it into place; an artifact that was there is replaced.

    Raises OSError where the disk refuses.
    """
    files = _hash_files(folder)
    entry = Artifact(_total(files), sum(file.bytes for file in files), time.time())
    (folder / RECORD).write_text(json.dumps(as_json(ArtifactRecord(**vars(making), artifact=entry))))
    _place(folder, results, key, files)
    return entry


def adopt(folder: Path, results: Path, key: str, record: bytes, sha256: str) -> bool:
    """Put files that come from elsewhere, and their record, into place; False where their hash is another."""
    files = _hash_files(folder)
    if _total(files) != sha256:
        return False
    (folder / RECORD).write_bytes(record)
    _place(folder, results, key, files)
    return True


def _place(folder: Path, results: Path, key: str, files: list[_File]) -> None:
    """Sync a folder and rename it to where the artifact of that key belongs."""
    for path in sorted(folder.rglob("*")):
        _sync(path)
    for file in files:
        _share(folder / file.name, file, content_file(results, file.sha256))
    _sync(folder)
    place = artifact_folder(results, key)
    if place.exists():
        # Left by a launch that ended before the runner could enter it, and found wanting.
        shutil.rmtree(place)
    folder.rename(place)
    _sync(place.parent)


def copy_artifact(source: Path, key: str, into: Path, new_key: str) -> bool:
    """Copy an artifact, by links where the file system allows it; returns whether there was one."""
    old, new = artifact_folder(source, key), artifact_folder(into, new_key)
    if not (old / RECORD).is_file():
        return False
    if not new.is_dir():
        beside = new.with_name(f".{new.name}.copying")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(beside)
        beside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(old, beside, copy_function=_link)
        beside.rename(new)
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def read_record(results: Path, key: str) -> ArtifactRecord | None:
    """Return the record of an artifact whose content is what its record says, else None."""
    folder = artifact_folder(results, key)
    try:
        record = read_as(ArtifactRecord, read_json(folder / RECORD))
        # Sizes first: what has been swapped for a huge file is not read.
        if sum(path.stat().st_size for path in _paths(folder)) != record.artifact.bytes:
            return None
        return record if digest(folder)[0] == record.artifact.sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digest(folder: Path) -> tuple[str, int]:
    """Return the SHA-256 over names and contents of a folder's files, less its record, and their bytes.

    The hash is 64 hexadecimal digits. Raises OSError where a file cannot be read.
    """
    files = _hash_files(folder)
    return _total(files), sum(file.bytes for file in files)


def unfinished(results: Path) -> Iterator[Path]:
    """Yield the unfinished artifacts of killed launches."""
    yield from (entry for entry in _entries(results / "artifacts") if entry.suffix == ".part")


def clear_unfinished(results: Path) -> None:
    """Remove what killed launches left; no other run may be writing."""
    for folder in unfinished(results):
        shutil.rmtree(folder, ignore_errors=True)


def _entries(folder: Path) -> Iterator[Path]:
    """Yield what lies in the folder's folders of two letters; what a link leads to is not ours."""
    for shard in folder.glob("??"):
        if shard.is_dir() and not shard.is_symlink():
            yield from shard.iterdir()


@dataclass(frozen=True)
class _File:
    name: str
    sha256: str
    bytes: int


def _hash_files(folder: Path) -> list[_File]:
    return [
        _File(path.relative_to(folder).as_posix(), _hash(path), path.stat().st_size)
        for path in _paths(folder)
    ]


def _paths(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != RECORD]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _total(files: Iterable[_File]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + bytes.fromhex(file.sha256))
    return total.hexdigest()


def _share(path: Path, file: _File, kept: Path) -> None:
    """Make a file a link to the equal one that is kept, or the one that is kept from now on."""
    twin = path.with_name(f"{path.name}.link")
    # Where the file system has no hard links, or no room for one, the artifact keeps a copy of its own.
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        if kept.exists() and (kept.stat().st_size != file.bytes or _hash(kept) != file.sha256):
            kept.unlink()  # torn or changed: whoever links to it already finds out by its own digest
        if not kept.exists():
            kept.hardlink_to(path)
            return
        twin.hardlink_to(kept)
        twin.replace(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
