"""An artifact is whole or not there."""

from __future__ import annotations

import pytest

from bench import artifacts

KEY = "ab" * 32


def test_a_published_artifact_is_found_with_its_record(tmp_path):
    with artifacts.beside(tmp_path, KEY) as folder:
        (folder / "weights").write_bytes(b"123")
        entry = artifacts.publish(folder, tmp_path, KEY, {"kind": "train"})
    record = artifacts.read_record(tmp_path, KEY)
    assert record is not None and record["kind"] == "train"
    assert record["artifact"] == entry and entry["bytes"] == 3


def test_a_stage_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), artifacts.beside(tmp_path, KEY) as folder:
        (folder / "weights").write_bytes(b"123")
        raise ValueError
    assert artifacts.read_record(tmp_path, KEY) is None
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("change", ["flip", "remove", "add"])
def test_a_changed_artifact_is_no_artifact(tmp_path, change):
    with artifacts.beside(tmp_path, KEY) as folder:
        (folder / "weights").write_bytes(b"123")
        artifacts.publish(folder, tmp_path, KEY, {})
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
