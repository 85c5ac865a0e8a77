"""An artifact is whole or not there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.results import artifacts

KEY = "ab" * 32
OTHER = "cd" * 32


def leave(results: Path, key: str, content: bytes) -> Path:
    """Publish an artifact of one file; returns the file."""
    with artifacts.writing(results, key) as folder:
        (folder / "weights").write_bytes(content)
        artifacts.publish(folder, results, key, artifacts.Making())
    return artifacts.artifact_folder(results, key) / "weights"


def test_a_published_artifact_is_found_with_its_record(tmp_path):
    with artifacts.writing(tmp_path, KEY) as folder:
        (folder / "weights").write_bytes(b"123")
        entry = artifacts.publish(folder, tmp_path, KEY, artifacts.Making(kind="train"))
    record = artifacts.read_record(tmp_path, KEY)
    assert record is not None and record.kind == "train"
    assert record.artifact == entry and entry.bytes == 3


def test_a_stage_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), artifacts.writing(tmp_path, KEY) as folder:
        (folder / "weights").write_bytes(b"123")
        raise ValueError
    assert artifacts.read_record(tmp_path, KEY) is None
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("change", ["flip", "remove", "add"])
def test_a_changed_artifact_is_no_artifact(tmp_path, change):
    with artifacts.writing(tmp_path, KEY) as folder:
        (folder / "weights").write_bytes(b"123")
        artifacts.publish(folder, tmp_path, KEY, artifacts.Making())
    place = artifacts.artifact_folder(tmp_path, KEY)
    if change == "flip":
        (place / "weights").write_bytes(b"124")
    elif change == "remove":
        (place / "weights").unlink()
    else:
        (place / "more").write_bytes(b"")
    assert artifacts.read_record(tmp_path, KEY) is None


def test_what_a_killed_launch_left_is_cleared(tmp_path):
    left = artifacts.artifact_folder(tmp_path, KEY).with_name(f"{KEY}.123.part")
    left.mkdir(parents=True)
    artifacts.clear_unfinished(tmp_path)
    assert not left.exists()


def test_equal_files_of_different_artifacts_are_kept_once(tmp_path):
    first, second = leave(tmp_path, KEY, b"123"), leave(tmp_path, OTHER, b"123")
    different = leave(tmp_path, "ef" * 32, b"124")
    assert first.samefile(second) and not first.samefile(different)
    assert [file.samefile(first) for file in artifacts.content_files(tmp_path)].count(True) == 1
    assert all(artifacts.read_record(tmp_path, key) for key in (KEY, OTHER))


@pytest.mark.parametrize("torn", [b"", b"12", b"124"])
def test_spoiled_content_is_never_linked_to_and_heals_with_the_next_artifact(tmp_path, torn):
    first = leave(tmp_path, KEY, b"123")
    first.write_bytes(torn)  # what links to it is spoiled with it, and known to be
    second = leave(tmp_path, OTHER, b"123")
    assert second.read_bytes() == b"123"
    assert artifacts.read_record(tmp_path, KEY) is None
    assert artifacts.read_record(tmp_path, OTHER) is not None
    assert leave(tmp_path, KEY, b"123").samefile(second)


def test_artifacts_keep_copies_where_the_disk_has_no_hard_links(tmp_path, small_disk):
    results = tmp_path / "results"
    content = results / "artifacts" / "content"
    content.mkdir(parents=True)
    # A link to another disk is refused as one on a disk without links is.
    content.rmdir()
    content.symlink_to(small_disk(2**20))
    first, second = leave(results, KEY, b"123"), leave(results, OTHER, b"123")
    assert not first.samefile(second)
    assert artifacts.read_record(results, KEY) and artifacts.read_record(results, OTHER)
    assert not list(artifacts.content_files(results))


def test_a_full_disk_is_named_whatever_the_writer_says(tmp_path, small_disk):
    results = small_disk(2**21)
    with pytest.raises(OSError, match="No space left on device"), artifacts.writing(results, KEY) as folder:
        # As a library in C++ that finds its stream broken.
        subprocess.run(["head", "-c", "3000000", "/dev/zero"], stdout=(folder / "w").open("wb"), check=False)
        raise RuntimeError("basic_ios::clear: iostream error")
    assert not list(results.rglob("*.part"))
