"""Bytes on disk, raw and compressed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
"""The default of the `zstd` program, and of archives and registries that use it."""

SAMPLED_ABOVE = 256 << 20
"""Bytes of an artifact above which blocks stand for the whole: a model of 7 GB would take a minute."""

_BLOCK = 4 << 20
"""Bytes of a block: the window of level 3 is 2 MiB, so each has most of its matches within itself."""


@dataclass(frozen=True)
class FolderBytes:
    """Bytes of a folder's files. `compressed` is exact where all of them were read, else scaled up."""

    raw: int
    compressed: int
    sampled: bool = False

    @property
    def method(self) -> str:
        """Return how `compressed` was found."""
        if not self.sampled:
            return f"zstd level {LEVEL}"
        blocks = SAMPLED_ABOVE // _BLOCK
        limit = f"{SAMPLED_ABOVE >> 20} MiB"
        return f"zstd level {LEVEL}; {blocks} blocks of files of more than {limit} together, scaled up"


def folder_bytes(folder: Path, names: Sequence[str] | None = None) -> FolderBytes:
    """Return the bytes of a folder's files, and of a zstd frame of each (RFC 8878).

    `names` are paths below `folder` (all files without it). Of files that are larger than `SAMPLED_ABOVE`
    together, that many bytes are compressed, in blocks that are evenly spaced over all of them by name, and
    scaled up: the same files give the same number. Raises FileNotFoundError for a name that is not there.
    """
    if names is None:
        files = [path for path in folder.rglob("*") if path.is_file()]
    else:
        files = [folder / name for name in dict.fromkeys(names)]
    sizes = {path: path.stat().st_size for path in sorted(files)}
    raw = sum(sizes.values())
    if raw <= SAMPLED_ABOVE:
        return FolderBytes(raw, sum(_compressed(_whole(path), size) for path, size in sizes.items()))
    sampled = _compressed(_spaced(sizes, raw), SAMPLED_ABOVE)
    return FolderBytes(raw, round(sampled * raw / SAMPLED_ABOVE), sampled=True)


def _compressed(blocks: Iterable[bytes], size: int) -> int:
    """Return the bytes of a frame of these blocks, which are so many bytes together."""
    compressor = zstd.ZstdCompressor(level=LEVEL)
    compressor.set_pledged_input_size(size)
    return sum(len(compressor.compress(block)) for block in blocks) + len(compressor.flush())


def _whole(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _spaced(sizes: Mapping[Path, int], raw: int) -> Iterator[bytes]:
    """Yield evenly spaced blocks of files laid end to end, from their start to their end."""
    count = SAMPLED_ABOVE // _BLOCK
    for number in range(count):
        yield _block(sizes, (raw - _BLOCK) * number // (count - 1))


def _block(sizes: Mapping[Path, int], offset: int) -> bytes:
    """Return the block at an offset into files laid end to end."""
    parts: list[bytes] = []
    left = _BLOCK
    for path, size in sizes.items():
        if offset >= size:
            offset -= size
            continue
        with path.open("rb") as stream:
            stream.seek(offset)
            parts.append(stream.read(left))
        offset, left = 0, left - len(parts[-1])
        if not left:
            break
    return b"".join(parts)
