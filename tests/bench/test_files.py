"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.files import replace_file


def test_a_file_gets_its_new_content_and_nothing_stays_next_to_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.json"
    for data in (b"first", b"second"):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside", tmp_path / "file"
    outside.write_text("mine")
    path.symlink_to(outside)
    (tmp_path / f".file.{os.getpid()}").symlink_to(outside)
    replace_file(path, b"new")
    assert outside.read_text() == "mine" and not path.is_symlink() and path.read_bytes() == b"new"


def test_where_writing_fails_the_old_content_stays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
