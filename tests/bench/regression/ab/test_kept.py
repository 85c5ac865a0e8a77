"""What a results folder holds is timed as it is: nothing of it is made again, or changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.regression.ab.kept import taken_over
from bench.results.artifacts import Making, artifact_folder, publish, read_record, writing
from bench.results.store import Store
from bench.stages import STAGES
from tests.support.synthetic_run import Synthetic, build, key_of


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder whose run of two cells has all of its artifacts."""
    folder = tmp_path / "old"
    made_up = Synthetic(("adam",), ("none", "int8-static"), ("onnxruntime",))
    build(folder, made_up).close()
    for stage in Store.open(folder, create=False).stages("run-1"):
        if STAGES.get(stage.kind).leaves_artifact:
            with writing(folder, stage.key) as place:
                (place / "model").write_text(stage.label)
                publish(place, folder, stage.key, Making(kind=stage.kind, label=stage.label))
    return folder


def test_a_run_is_taken_over_with_its_artifacts_and_nothing_of_an_earlier_one_is_left(results, tmp_path):
    into = tmp_path / "ab" / "A-old"
    (into / "artifacts").mkdir(parents=True)
    (into / "artifacts" / "left").touch()
    options, plan = taken_over(results, into)
    assert options.results == into and options.fresh and not options.rebuild
    assert [cell.name for cell in plan.cells] == [
        "digits/adam/none@onnxruntime",
        "digits/adam/int8-static@onnxruntime",
    ]
    assert {stage.kind for stage in plan.stages.values()} == {"train", "lower", "evaluate", "step", "infer"}
    left = [key for key, stage in plan.stages.items() if STAGES.get(stage.kind).leaves_artifact]
    assert left and all(read_record(into, key) == read_record(results, key) for key in left)
    assert not (into / "artifacts" / "left").exists()


def test_a_cell_whose_artifact_is_gone_or_damaged_takes_no_part(results, tmp_path):
    lowered = key_of("lower digits/adam/0/int8-static@onnxruntime 1")
    (artifact_folder(results, lowered) / "model").write_text("something else, and longer")
    _, plan = taken_over(results, tmp_path / "into")
    assert [cell.name for cell in plan.cells] == ["digits/adam/none@onnxruntime"]
    assert lowered not in plan.stages


def test_a_folder_without_a_whole_cell_is_refused_in_one_line(results, tmp_path):
    (artifact_folder(results, key_of("train digits/adam/0")) / "model").unlink()
    with pytest.raises(BenchError, match="run run-1 has no cell with all of its artifacts; missing: train"):
        taken_over(results, tmp_path / "into")


MATRIX = """
[train]
workload = "digits"
optimizer = "adam"
[infer]
compression = "none"
backend = "onnxruntime"
[budget]
sample_s = 0.05
train_steps = 20
max_launches = 1
"""


@pytest.mark.slow
def test_artifacts_of_two_results_folders_are_timed_and_none_is_made_again(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(MATRIX)
    done = bench("run", "--matrix", "mine.toml", "--results", "old")
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree("old", "new")
    before = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*/artifacts/*/*"))}
    runs = [Store.open(tmp_path / name, create=False).runs()["id"].tolist() for name in ("old", "new")]
    words = ("--cell", "infer", "--budget", "60", "--margin", "1", "--json", "found.json")
    done = bench("ab", "old", "new", *words)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())["findings"]
    (timed,) = (finding for finding in found if finding["metric"] == "latency_s")
    assert timed["stage"].startswith("infer digits") and timed["ratio"]["launches"] >= 6
    assert not [
        each for each in found if each["metric"] == "artifact_bytes" and each["verdict"] != "no change"
    ]
    # Neither folder has another run or artifact than before.
    assert runs == [
        Store.open(tmp_path / name, create=False).runs()["id"].tolist() for name in ("old", "new")
    ]
    after = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*/artifacts/*/*"))}
    assert after == before
    made = Store.open(tmp_path / "results" / "ab" / "A-old", create=False)
    run_id = made.find_run(None)
    left = {stage.key for stage in made.stages(run_id) if STAGES.get(stage.kind).leaves_artifact}
    assert left and all(each.reused for each in made.launch_records(run_id) if each.stage_key in left)


def test_what_belongs_to_a_matrix_is_refused_with_results_folders(command, results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("ab", "old", "old", "--matrix", "ci")
    assert done.returncode == 2
    assert "results folders bring their own matrix" in done.stderr.splitlines()[-1]
