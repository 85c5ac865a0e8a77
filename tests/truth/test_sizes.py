"""Sizes of files against contents of known size."""

from __future__ import annotations

import lzma
import os
from pathlib import Path

import pytest

from bench.instruments.sizes import folder_bytes


def test_raw_and_compressed_sizes_are_those_of_all_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    first, second = os.urandom(3000), b"weights" * 500_000
    (tmp_path / "sub" / "b.bin").write_bytes(second)
    (tmp_path / "a.bin").write_bytes(first)
    raw, compressed = folder_bytes(tmp_path)
    assert raw == len(first) + len(second)
    assert compressed == len(lzma.compress(first + second, preset=1))
    assert lzma.decompress(lzma.compress(first + second, preset=1)) == first + second


def test_zeros_compress_and_noise_does_not(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    (tmp_path / "noise").write_bytes(os.urandom(1 << 20))
    raw, zeros = folder_bytes(tmp_path, ["zeros"])
    assert raw == 1 << 20
    assert zeros < 2000
    assert folder_bytes(tmp_path, ["noise"])[1] >= 1 << 20


def test_only_named_files_count_each_once_in_any_order(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    assert folder_bytes(tmp_path, ["b", "a"]) == folder_bytes(tmp_path, ["a", "b", "a"])
    assert folder_bytes(tmp_path, ["a", "b"])[0] == 200


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        folder_bytes(tmp_path, ["missing"])
