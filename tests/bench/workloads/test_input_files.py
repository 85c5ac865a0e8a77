"""What a model's path may lead to: files of a bounded size, read once; all else is one line at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.workloads import input_files
from bench.workloads.input_files import MAX_GIB_VARIABLE
from bench.workloads.input_files import input_files as files_of
from tests.fuzz.harness import run


def test_a_folder_has_its_files_by_name_those_that_links_name_too(tmp_path: Path) -> None:
    for name in ("b.bin", "deep/a.bin", "a.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link.bin").symlink_to("a.bin")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "gone.bin").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    names = [file.relative_to(tmp_path).as_posix() for file in files_of(tmp_path)]
    assert names == ["a.bin", "b.bin", "deep/a.bin", "link.bin"]


@pytest.mark.parametrize("inside_a_folder", [False, True])
def test_a_sparse_file_of_200_gib_is_one_line_and_not_read(tmp_path: Path, inside_a_folder: bool) -> None:
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(200 * 2**30)
    with pytest.raises(BenchError, match=rf"200 GiB is more than the 32 GiB .* {MAX_GIB_VARIABLE}"):
        files_of(tmp_path if inside_a_folder else tmp_path / "weights.bin")


def test_who_wants_a_larger_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(40 * 2**30)
    monkeypatch.setenv(MAX_GIB_VARIABLE, "64")
    assert files_of(tmp_path) == [tmp_path / "weights.bin"]
    for text in ("many", "-1", "nan", "inf"):
        monkeypatch.setenv(MAX_GIB_VARIABLE, text)
        with pytest.raises(BenchError, match=f"must be a number of GiB above 0, got '{text}'"):
            files_of(tmp_path)


def test_a_folder_of_more_files_than_a_model_has_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_files, "_MAX_FILES", 3)
    for number in range(4):
        (tmp_path / str(number)).touch()
    with pytest.raises(BenchError, match="more than 3 files"):
        files_of(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pt2")
    with pytest.raises(BenchError, match="must be a file or a folder"):
        files_of(tmp_path / "model.pt2")


@pytest.mark.parametrize("name", ["model.onnx", "onnx:model.onnx", "exported:model.pt2"])
def test_a_sparse_model_is_not_read_to_be_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with Path(name.rpartition(":")[2]).open("wb") as file:
        file.truncate(200 * 2**30)
    outcome = run(("flops", name))
    assert (outcome.code, outcome.uncaught) == (2, "") and "200 GiB is more than" in outcome.err
