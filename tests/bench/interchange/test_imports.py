"""An imported run is a run: shown, saved as a baseline, checked, reported and loaded as any other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.errors import BenchError
from bench.interchange.imports import enter_file
from bench.results.store import Store

FAST = [0.100, 0.101, 0.099, 0.100, 0.102, 0.098, 0.100, 0.101]


def hyperfine(path: Path, times: list[float], name: str = "train.py") -> Path:
    """Write a file of hyperfine, of a moment that its times decide."""
    path.write_text(json.dumps({"results": [{"command": name, "median": times[0], "times": times}]}))
    os.utime(path, (1.7e9, 1.7e9))
    return path


@pytest.fixture
def imported(command: Any, tmp_path: Path):
    """Import times of a command on one machine; returns the run's id."""

    def imported(name: str, times: list[float]) -> str:
        file = hyperfine(tmp_path / f"{name}.json", times)
        done = command("import", file, "--machine", "builder", "--results", tmp_path / "results")
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1].split()[1].removesuffix(":")

    return imported


def test_a_baseline_of_an_imported_run_finds_a_slowdown(command: Any, imported: Any, tmp_path: Path) -> None:
    where = ("--results", tmp_path / "results")
    base = imported("base", FAST)
    assert command("baseline", "save", "base", base, *where).returncode == 0
    same = imported("same", [value + 1e-5 for value in FAST])
    slow = imported("slow", [2 * value for value in FAST])
    assert command("check", "--baseline", "base", same, *where).returncode == 0
    checked = command("check", "--baseline", "base", slow, *where)
    assert checked.returncode == 1 and "imported train.py" in checked.stdout


def test_show_has_each_launch_and_says_which_file_it_is_from(
    command: Any, imported: Any, tmp_path: Path
) -> None:
    imported("base", FAST)
    shown = command("show", "train.py", "--results", tmp_path / "results")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("imported_s: ") == len(FAST)
    assert f"imported: from {tmp_path / 'base.json'}, measured by hyperfine" in shown.stdout
    assert "reproduce" not in shown.stdout and "axes" not in shown.stdout


def test_reports_and_frames_cope_with_cells_without_axes(command: Any, imported: Any, tmp_path: Path) -> None:
    run_id = imported("base", FAST)
    done = command("report", "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / run_id / "report.html").is_file()
    frame = bench.load(run_id, results=tmp_path / "results", kind="summary")
    assert frame.set_index("metric").loc["imported_s", "launches"] == len(FAST)
    assert bench.load(run_id, results=tmp_path / "results", kind="cells")["cell"].tolist() == ["train.py"]
    exported = command("export", "--results", tmp_path / "results")
    assert json.loads(exported.stdout)["benchmarks"][0]["stats"]["data"] == FAST


def test_an_imported_run_predicts_nothing_of_others(imported: Any, tmp_path: Path) -> None:
    imported("base", FAST)
    history = Store.open(tmp_path / "results", create=False).cost_history()
    assert not history.launches and history.run is None


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    file = hyperfine(tmp_path / "base.json", FAST)
    run_id = enter_file(file, tmp_path / "results").run_id
    with pytest.raises(BenchError, match=f"base.json: is run {run_id} already"):
        enter_file(file, tmp_path / "results")


def test_texts_and_moments_that_no_store_holds_are_kept_out(tmp_path: Path) -> None:
    stats = {"median": 1.0, "min": 1.0, "rounds": 1, "data": [1.0]}
    content = {
        "benchmarks": [{"name": "half a pair \ud800", "stats": stats}],
        "datetime": "0001-01-01T00:00:00",
    }
    (tmp_path / "out.json").write_text(json.dumps(content))
    run_id = enter_file(tmp_path / "out.json", tmp_path / "results").run_id
    store = Store.open(tmp_path / "results", create=False)
    assert store.run(run_id)["started_s"] > 1e9
    assert [cell.name for cell in store.cells(run_id)] == [r"half a pair \ud800"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a JSON file"),
        ("{", "must be a JSON file"),
        ("[1, 2]", "no file of pytest-benchmark, asv, hyperfine"),
        ('{"results": 3}', "no file of pytest-benchmark, asv, hyperfine"),
        ('{"results": []}', "not a file of hyperfine: results: List should have at least 1 item"),
        ('{"results": [{"command": "ls"}]}', "not a file of hyperfine: results.0.median: Field required"),
        ('{"results": [{"command": "ls", "median": -1}]}', "results.0.median: Input should be greater"),
        ('{"results": [{"command": "ls", "median": 1, "times": [NaN]}]}', "results.0.times.0"),
        ('{"benchmarks": []}', "not a file of pytest-benchmark: benchmarks: List should have"),
        ('{"benchmarks": [{"name": "a", "stats": {}}]}', "benchmarks.0.stats.median: Field required"),
        ('{"benchmarks": 3}', "no file of"),
        ("[" * 100_000, "must be a JSON file"),
    ],
)
def test_damaged_and_foreign_files_are_refused_in_one_line(
    command: Any, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "out.json"
    file.write_text(text)
    done = command("import", file, "--results", tmp_path / "results")
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1 and "out.json" in done.stderr


def test_what_is_not_there_or_not_a_format_is_said(command: Any, tmp_path: Path) -> None:
    where = ("--results", tmp_path / "results")
    missing = command("import", tmp_path / "none.json", *where)
    assert missing.returncode == 2 and "none.json: No such file" in missing.stderr
    file = hyperfine(tmp_path / "out.json", FAST)
    other = command("import", file, "--format", "hyperfin", *where)
    assert other.returncode == 2 and "did you mean 'hyperfine'" in other.stderr
    wrong = command("import", file, "--format", "asv", *where)
    assert wrong.returncode == 2 and "not a file of asv: " in wrong.stderr
