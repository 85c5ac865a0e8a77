"""An artifact is taken up again while all that it drew in is unchanged, and the reason names what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.identity import reuse
from bench.identity.discovered import File, Inputs, folder_digest
from bench.identity.reuse import ALIKE, Reuse, Unchanged, inputs_to_json
from bench.results.artifacts import RECORD, artifact_folder
from bench.results.store import StageRow

KEY = "ab" * 32


def made(results: Path, inputs: Inputs) -> None:
    """Leave the artifact of KEY with a record that says what its making drew in."""
    folder = artifact_folder(results, KEY)
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(json.dumps({"inputs": inputs_to_json(inputs)}))


def found(results: Path, load=lambda settings: {}) -> tuple[str, str]:
    """Return the key that a stage gets now, and why it is made again."""
    reused = Reuse(results, load)
    key = reused.key(KEY, {})
    return key, reused.again.get(key, "")


def assert_made_again(results: Path, reason: str, **other) -> None:
    key, why = found(results, **other)
    assert key != KEY and key[:ALIKE] == KEY[:ALIKE] and len(key) == len(KEY)
    assert why == f"{reason} changed"


def test_what_drew_in_nothing_is_taken_up_and_what_was_never_made_gets_its_own_key(tmp_path: Path) -> None:
    assert found(tmp_path) == (KEY, "")
    made(tmp_path, Inputs())
    assert found(tmp_path) == (KEY, "")


def test_a_file_in_a_folder_that_was_listed_makes_it_again(tmp_path: Path) -> None:
    listed = tmp_path / "images"
    listed.mkdir()
    made(tmp_path / "results", Inputs(folders={str(listed): folder_digest(listed)}))
    assert found(tmp_path / "results") == (KEY, "")
    (listed / "another.png").touch()
    assert_made_again(tmp_path / "results", f"the content of folder {listed}")


def test_another_version_of_a_package_makes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"theirs": "1.0"}
    monkeypatch.setattr(
        reuse, "versions_of_distributions", lambda names: {name: installed.get(name, "") for name in names}
    )
    made(tmp_path, Inputs(packages={"theirs": "1.0"}))
    assert found(tmp_path) == (KEY, "")
    installed["theirs"] = "1.1"
    assert_made_again(tmp_path, "theirs's version")


def test_other_data_in_memory_makes_it_again(tmp_path: Path) -> None:
    made(tmp_path, Inputs(loaded={"the training data": "1" * 64}))
    assert found(tmp_path, lambda settings: {"the training data": "1" * 64}) == (KEY, "")
    assert_made_again(tmp_path, "the training data", load=lambda settings: {"the training data": "2" * 64})


def test_a_module_that_is_another_than_an_earlier_stage_had_is_objected_to(tmp_path: Path) -> None:
    watch, stage = Unchanged(tmp_path), StageRow(KEY, "train", "net", False, (), {})
    assert watch.objection(stage, {"mine.py": "old", "other.py": "x"}) == ""
    assert watch.objection(stage, {"mine.py": "old"}) == ""
    changed = "mine.py changed since the run began; start the run again"
    assert watch.objection(stage, {"mine.py": "new"}) == changed


def test_a_file_that_an_artifact_read_is_held_against_what_earlier_stages_read(tmp_path: Path) -> None:
    watch = Unchanged(tmp_path)
    assert watch.objection(StageRow("cd" * 32, "infer", "net", True, (), {}), {"data.csv": "old"}) == ""
    made(tmp_path, Inputs(files={"data.csv": File("new")}))
    told = watch.objection(StageRow(KEY, "lower", "net", False, (), {}), {})
    assert told == "data.csv changed since the run began; start the run again"
