"""Bytes on disk, raw and compressed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
"""The default of the `zstd` program, and of archives and registries that use it."""

SAMPLED_ABOVE = 256 << 20
"""Bytes of a file above which blocks stand for the whole: a model of 7 GB would take a minute."""

_BLOCK = 4 << 20
"""Bytes of a block: the window of level 3 is 2 MiB, so each has most of its matches within itself."""


@dataclass(frozen=True)
class FolderBytes:
    """Bytes of a folder's files. `compressed` is exact where all of them were read, else scaled up."""

    raw: int
    compressed: int
    sampled_files: int = 0

    @property
    def method(self) -> str:
        """Return how `compressed` was found."""
        if not self.sampled_files:
            return f"zstd level {LEVEL}"
        blocks = SAMPLED_ABOVE // _BLOCK
        return f"zstd level {LEVEL}; of each file above {SAMPLED_ABOVE >> 20} MiB {blocks} blocks, scaled up"


def folder_bytes(folder: Path, names: Sequence[str] | None = None) -> FolderBytes:
    """Return the bytes of a folder's files, and of a zstd frame of each (RFC 8878).

    `names` are paths below `folder` (all files without it). Of a file above `SAMPLED_ABOVE` that many bytes
    are compressed, in blocks that are evenly spaced from its start to its end, and scaled up to its size:
    the same file gives the same number. Raises FileNotFoundError for a name that is not there.
    """
    if names is None:
        files = [path for path in folder.rglob("*") if path.is_file()]
    else:
        files = [folder / name for name in dict.fromkeys(names)]
    raw = compressed = sampled = 0
    for path in files:
        size = path.stat().st_size
        part = min(size, SAMPLED_ABOVE)
        compressor = zstd.ZstdCompressor(level=LEVEL)
        compressor.set_pledged_input_size(part)
        own = sum(len(compressor.compress(block)) for block in _blocks(path, size))
        own += len(compressor.flush())
        raw += size
        compressed += own if part == size else round(own * size / part)
        sampled += part < size
    return FolderBytes(raw, compressed, sampled)


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """Yield a file's content block by block; of a large file as many blocks as make `SAMPLED_ABOVE`."""
    count = -(-min(size, SAMPLED_ABOVE) // _BLOCK)
    spaced = size > SAMPLED_ABOVE
    with path.open("rb") as stream:
        for number in range(count):
            if spaced:
                stream.seek((size - _BLOCK) * number // (count - 1))
            yield stream.read(_BLOCK)
