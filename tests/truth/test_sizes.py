"""Sizes on disk are those of the files, and zeros compress away."""

from __future__ import annotations

import os

from bench.instruments.sizes import folder_bytes


def test_raw_bytes_are_the_files_and_random_ones_do_not_compress(tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(10_000))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_bytes(os.urandom(5_000))
    raw, compressed = folder_bytes(tmp_path)
    assert raw == 15_000
    assert 15_000 <= compressed < 15_500


def test_zeros_compress_away(tmp_path):
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    raw, compressed = folder_bytes(tmp_path)
    assert raw == 100_000 and compressed < 1_000
