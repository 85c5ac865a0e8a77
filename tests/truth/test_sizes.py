"""Sizes of files against contents of known size."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from bench.instruments import sizes
from bench.instruments.sizes import folder_bytes


def zstd_bytes(content: bytes) -> int:
    """Return the bytes that another implementation of the same level makes of a content."""
    return len(pa.Codec("zstd", compression_level=3).compress(content))


def test_raw_and_compressed_sizes_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    first, second = os.urandom(3000), b"weights" * 500_000 + os.urandom(50_000)
    (tmp_path / "sub" / "b.bin").write_bytes(second)
    (tmp_path / "a.bin").write_bytes(first)
    size = folder_bytes(tmp_path)
    assert size.raw == len(first) + len(second)
    assert size.compressed == pytest.approx(zstd_bytes(first) + zstd_bytes(second), rel=1e-3)
    assert (size.sampled, size.method) == (False, "zstd level 3")


def test_zeros_compress_and_noise_does_not(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    (tmp_path / "noise").write_bytes(os.urandom(1 << 20))
    zeros = folder_bytes(tmp_path, ["zeros"])
    assert zeros.raw == 1 << 20
    assert zeros.compressed < 2000
    assert 1 << 20 <= folder_bytes(tmp_path, ["noise"]).compressed < 1.001 * (1 << 20)


def test_bytes_of_known_entropy_compress_to_little_more(tmp_path: Path) -> None:
    # Bytes of 16 equally likely values have 4 bits of entropy (Shannon 1948); int4 in int8 looks like that.
    (tmp_path / "nibbles").write_bytes(bytes(byte & 15 for byte in os.urandom(1 << 20)))
    assert 1 <= folder_bytes(tmp_path).compressed / (1 << 19) < 1.05


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    size = folder_bytes(tmp_path)
    assert size.raw == 0
    assert size.compressed < 20  # the header of a frame


def test_a_large_file_is_sampled_from_its_start_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "SAMPLED_ABOVE", 1 << 20)
    monkeypatch.setattr(sizes, "_BLOCK", 1 << 14)
    half = 5 << 20
    (tmp_path / "half").write_bytes(bytes(half) + os.urandom(half))
    (tmp_path / "small").write_bytes(os.urandom(1 << 20))
    size = folder_bytes(tmp_path, ["half"])
    assert size.raw == 2 * half
    assert size.compressed == pytest.approx(half, rel=0.02)
    assert size == folder_bytes(tmp_path, ["half"])
    assert size.method == "zstd level 3; 64 blocks of files of more than 1 MiB together, scaled up"
    assert not folder_bytes(tmp_path, ["small"]).sampled


def test_many_files_are_sampled_as_one_and_no_more_is_read_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "SAMPLED_ABOVE", 1 << 20)
    monkeypatch.setattr(sizes, "_BLOCK", 1 << 14)
    for number in range(40):
        content = os.urandom(200_000) if number % 2 else bytes(200_000)
        (tmp_path / f"layer-{number:02}").write_bytes(content)
    read: list[int] = []
    compressed = sizes._compressed

    def counted(blocks: Iterable[bytes], size: int) -> int:
        kept = list(blocks)
        read.append(sum(map(len, kept)))
        return compressed(kept, size)

    monkeypatch.setattr(sizes, "_compressed", counted)
    size = folder_bytes(tmp_path)
    assert read == [1 << 20] and size.raw == 8_000_000 and size.sampled
    assert size.compressed == pytest.approx(4_000_000, rel=0.1)


def test_only_named_files_count_each_once_in_any_order(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    assert folder_bytes(tmp_path, ["b", "a"]) == folder_bytes(tmp_path, ["a", "b", "a"])
    assert folder_bytes(tmp_path, ["a", "b"]).raw == 200


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        folder_bytes(tmp_path, ["missing"])
