"""Artifacts in somebody else's results folder: they name no code but the run's own; damage is one line."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench.errors import StageError
from bench.identity.reuse import Reuse
from bench.models.files import OUTPUTS, WEIGHTS, load_model, load_outputs, save_model
from bench.models.structures import MODEL, Structure, read_structure
from bench.results.artifacts import RECORD, Making, artifact_folder, publish, read_record, writing

MINE = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Linear(4, 3)), torch.ones(5, 6)
"""


@pytest.fixture
def artifact(tmp_path: Path) -> tuple[Path, str]:
    (tmp_path / "mine.py").write_text(MINE)
    workload = f"module:{tmp_path / 'mine.py'}:make"
    folder = tmp_path / "artifact"
    folder.mkdir()
    structure = Structure(workload)
    save_model(folder, structure, structure.build())
    return folder, workload


def test_a_whole_artifact_is_loaded(artifact: tuple[Path, str]) -> None:
    assert load_model(*artifact)(torch.ones(2, 6)).shape == (2, 3)


def test_an_artifact_that_names_other_code_than_the_run_is_refused_and_that_code_is_not_run(
    artifact: tuple[Path, str], tmp_path: Path
) -> None:
    folder, workload = artifact
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n{MINE}")
    Structure(f"module:{tmp_path / 'evil.py'}:make").save(folder)
    for load in (load_model, read_structure):
        with pytest.raises(StageError, match=f"names the workload .*evil.py:make', not '{workload}'"):
            load(folder, workload)
    assert not (tmp_path / "marker").exists()


def edit(**changed: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["edits"].append({"module": "0", "attributes": {}, "shapes": {}, **changed})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.clear(), "is damaged"),
        (lambda content: content.update(edits=7), "is damaged"),
        (edit(module="nowhere"), "has no module 'nowhere'"),
        (edit(attributes={"forward": 1}), "0.forward is not a size of a Linear"),
        (edit(attributes={"in_features": "6"}), None),
        (edit(attributes={"in_features": {"a": 1}}), "is damaged"),
        (edit(shapes={"forward": [1]}), "0.forward is not a tensor"),
        (edit(shapes={"weight": [2**31, 2**31]}), "not a tensor that could have shape"),
        (edit(shapes={"weight": [-1]}), "is damaged"),
    ],
)
def test_a_damaged_structure_is_one_line(
    artifact: tuple[Path, str], change: Callable[[dict[str, Any]], object], told: str | None
) -> None:
    folder, workload = artifact
    content = json.loads((folder / MODEL).read_text())
    change(content)
    (folder / MODEL).write_text(json.dumps(content))
    if told is None:
        load_model(folder, workload)
        return
    with pytest.raises(StageError, match=told) as raised:
        load_model(folder, workload)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 4401, "", "null", "\udc80"])
def test_a_structure_that_is_no_such_json_is_one_line(artifact: tuple[Path, str], text: str) -> None:
    (artifact[0] / MODEL).write_text(text, errors="surrogateescape")
    with pytest.raises(StageError, match=r"its model.json is damaged: [^\n]{1,300}$"):
        load_model(*artifact)


PICKLE = b"\x80\x04cos\nsystem\n\x8c\x0ctouch marker!\x85R."


@pytest.mark.parametrize(
    "content",
    [
        PICKLE,
        b"",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**40) + b"{",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
@pytest.mark.parametrize("file", [WEIGHTS, OUTPUTS])
def test_what_is_no_safetensors_file_is_one_line_and_never_unpickled(
    artifact: tuple[Path, str], file: str, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, workload = artifact
    (folder / file).write_bytes(content)
    with pytest.raises(StageError) as raised:
        load_model(folder, workload) if file == WEIGHTS else load_outputs(folder)
    assert "\n" not in str(raised.value) and not list(tmp_path.glob("marker*"))


@pytest.mark.parametrize("shared", ['{"0.bias": "nothing"}', "[]", "[" * 100_000, "7"])
def test_metadata_of_weights_that_name_no_tensor_are_one_line(
    artifact: tuple[Path, str], shared: str
) -> None:
    folder, workload = artifact
    save_file({"0.weight": torch.zeros(4, 6)}, folder / WEIGHTS, {"shared": shared})
    with pytest.raises(StageError, match="weights do not fit the model"):
        load_model(folder, workload)


def test_a_file_swapped_for_a_huge_one_is_not_hashed(tmp_path: Path) -> None:
    key = "0" * 64
    with writing(tmp_path, key) as folder:
        (folder / "model.onnx").write_bytes(b"x")
        publish(folder, tmp_path, key, Making())
    assert read_record(tmp_path, key) is not None
    (file,) = tmp_path.glob(f"artifacts/*/{key}/model.onnx")
    file.unlink()
    with file.open("wb") as sparse:
        sparse.truncate(2**40)
    assert read_record(tmp_path, key) is None


def test_inputs_that_a_record_names_are_neither_waited_for_nor_read_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "deep.py").write_text("(" * 100_000)
    with (tmp_path / "huge.py").open("wb") as sparse:
        sparse.truncate(2**40)
    names = ["/dev/zero", str(tmp_path / "pipe"), str(tmp_path), "\0", "", "x" * 5000, "\ud800"]
    names += [str(tmp_path / "deep.py"), str(tmp_path / "huge.py")]
    key = "0" * 64
    for field in ("files", "folders", "packages"):
        for name in names:
            told = {"digest": "1"} if field == "files" else "1"
            folder = artifact_folder(tmp_path, key)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / RECORD).write_text(json.dumps({"inputs": {field: {name: told}}}))
            reuse = Reuse(tmp_path)
            again = reuse.key(key, {})
            assert len(reuse.again.get(again, "")) <= 500
