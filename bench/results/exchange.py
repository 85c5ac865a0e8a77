"""Artifacts at a URL that every node of a cluster reaches: any file system of fsspec, as `s3://` and `gs://`.

An artifact lies there under its key and the SHA-256 of its content, and its record, written last, says which
content is meant. So what is half written, or written by two nodes at once, is never taken for an artifact;
what is fetched is hashed again. Others may write there: no name that is found leads out of an
artifact's folder.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import BenchError
from bench.records import read_as
from bench.results.artifacts import (
    RECORD,
    ArtifactRecord,
    adopt,
    artifact_folder,
    is_key,
    read_record,
    writing,
)


class Exchange:
    """The artifacts at a URL. Raises BenchError where it cannot be used, in one line."""

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            import fsspec
        except ImportError:
            install = "pip install 'dl-efficiency-bench[remote]'"
            raise BenchError(f"--artifacts {url}: requires the package fsspec: {install}") from None
        try:
            self._files: Any
            self._files, self._root = fsspec.core.url_to_fs(url)
            self._bucket = self._root.partition("/")[0]  # empty of a path, which begins with a slash
            self._check_bucket()
            self._make_folder(self._root)
        except Exception as error:  # of any file system, and of one whose package is missing
            raise self._refused(error) from None
        self._there: dict[str, list[str]] | None = None

    def fetch(self, results: Path, key: str) -> bool:
        """Bring an artifact into a results folder that lacks it; returns whether it is there then, whole."""
        if read_record(results, key) is not None:
            return True
        if not is_key(key):
            return False
        place = f"{self._root}/{key[:2]}/{key}"
        try:
            text = self._files.cat_file(f"{place}/{RECORD}")
            record = read_as(ArtifactRecord, json.loads(text))
            if not is_key(record.artifact.sha256):
                return False
            source = f"{place}/{record.artifact.sha256}"
            with writing(results, key) as folder:
                for name in self._files.find(source):
                    target = folder / _inside(name, source)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._files.get_file(name, str(target))
                return adopt(folder, results, key, text, record.artifact.sha256)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False  # not there, or no record
        except Exception as error:  # whatever a file system raises: no access, no network
            raise self._refused(error) from None

    def fetch_alike(self, results: Path, beginning: str) -> list[Path]:
        """Bring every artifact whose key begins like this; returns the folders that are there then."""
        if self._there is None:
            self._there = self._keys_by_beginning(len(beginning))
        keys = self._there.get(beginning, ())
        return [artifact_folder(results, key) for key in keys if self.fetch(results, key)]

    def publish(self, results: Path, key: str) -> None:
        """Copy an artifact of a results folder to the URL, unless it is there; its record comes last."""
        record = read_record(results, key)
        if record is None:
            return
        place = f"{self._root}/{key[:2]}/{key}"
        folder, target = artifact_folder(results, key), f"{place}/{record.artifact.sha256}"
        text = (folder / RECORD).read_bytes()
        try:
            if self._has(f"{place}/{RECORD}", text):
                return
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.name != RECORD:
                    name = f"{target}/{path.relative_to(folder).as_posix()}"
                    self._make_folder(name.rpartition("/")[0])
                    self._files.put_file(str(path), name)
            self._make_folder(place)
            self._files.pipe_file(f"{place}/{RECORD}", text)
        except Exception as error:  # whatever a file system raises
            raise self._refused(error) from None

    def _check_bucket(self) -> None:
        """Raise what the file system does where the bucket of the URL is not there, or refuses access."""
        if self._bucket and not self._files.exists(self._bucket):
            self._files.ls(self._bucket)  # says why

    def _make_folder(self, path: str) -> None:
        """Make a folder; a bucket has none, and asking for one would make the bucket where it is missing."""
        if not self._bucket:
            self._files.makedirs(path, exist_ok=True)

    def _has(self, name: str, content: bytes) -> bool:
        try:
            found: bytes = self._files.cat_file(name)
        except FileNotFoundError:
            return False
        return found == content

    def _keys_by_beginning(self, length: int) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        try:
            self._files.invalidate_cache()  # others publish too
            for name in self._files.glob(f"{self._root}/??/*/{RECORD}"):
                key = PurePosixPath(name).parent.name
                if is_key(key):
                    found[key[:length]].append(key)
        except Exception as error:  # whatever a file system raises
            raise self._refused(error) from None
        return found

    def _refused(self, error: Exception) -> BenchError:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        return BenchError(f"--artifacts {self._url}: {lines[0]}")


def _inside(name: str, source: str) -> PurePosixPath:
    """Return a file's path inside an artifact; raises ValueError where it leads out of it."""
    path = PurePosixPath(name).relative_to(_plain(source))
    if ".." in path.parts:
        raise ValueError(f"{name} lies outside {source}")
    return path


def _plain(path: str) -> str:
    """Return a path as file systems list it."""
    return path.rstrip("/")
