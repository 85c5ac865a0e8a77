"""Bytes on disk, raw and compressed."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path

_CHUNK = 1 << 20


def folder_bytes(folder: Path, names: Sequence[str] | None = None) -> tuple[int, int]:
    """Return the bytes of a folder's files, and of one xz stream of them all (preset 1).

    `names` are paths below `folder` (all files without it). Files go into the stream in the order of their
    paths, with nothing between them, so equal content gives equal bytes. Raises FileNotFoundError for a name
    that is not there.
    """
    if names is None:
        files = [path for path in folder.rglob("*") if path.is_file()]
    else:
        files = [folder / name for name in dict.fromkeys(names)]
    compressor = lzma.LZMACompressor(preset=1)
    raw = compressed = 0
    for path in sorted(files, key=lambda file: file.relative_to(folder).as_posix()):
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                raw += len(chunk)
                compressed += len(compressor.compress(chunk))
    return raw, compressed + len(compressor.flush())
