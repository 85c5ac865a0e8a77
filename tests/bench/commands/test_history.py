"""`bench history`: prints runs and changes, leaves a table and a figure, and refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.histories import CELL, build_history, revision

pytest.importorskip("ruptures")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    level = np.where(np.arange(14) < 8, 0.001, 0.00108)
    build_history(folder, (level * np.exp(0.01 * np.random.default_rng(4).standard_normal(14))).tolist())
    return folder


def test_it_prints_the_runs_and_the_change_and_leaves_a_table_and_a_figure(command, results):
    done = command("history", "latency_s", CELL, "--results", results)
    assert done.returncode == 0, done.stderr
    assert "14 runs on Test CPU" in done.stdout and "run-007" in done.stdout
    assert "shift +" in done.stdout and "run-007" in done.stdout
    assert f"to find the commit: bench bisect {revision(7)[:10]} {revision(8)[:10]} " in done.stdout
    folder = Path(done.stdout.splitlines()[-1].partition(": ")[2])
    assert folder.parent == results / "history"
    assert (folder / "history.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (folder / "history.svg").read_bytes()
    table = pd.read_csv(folder / "history.csv")
    assert list(table["run"])[table["change"].tolist().index("shift")] == "run-008"


def test_a_drift_comes_with_the_command_that_lists_its_commits(command, tmp_path):
    noise = np.exp(0.005 * np.random.default_rng(4).standard_normal(12))
    build_history(tmp_path, (0.001 * 1.01 ** np.arange(12) * noise).tolist())
    done = command("history", "latency_s", CELL, "--results", tmp_path)
    assert "drift +" in done.stdout and "its commits: git log --oneline " in done.stdout


def test_json_is_all_that_it_prints(command, results):
    done = command("history", "latency_s", CELL, "--json", "--results", results)
    content = json.loads(done.stdout)
    assert content["metric"] == "latency_s" and content["changes"][0]["kind"] == "shift"


@pytest.mark.parametrize("arguments", [[], ["latency_s"]])
def test_without_a_cell_it_lists_what_there_is(command, results, arguments):
    done = command("history", *arguments, "--results", results)
    assert done.returncode == 0 and CELL in done.stdout and "14" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latncy_s"], "did you mean 'latency_s'"),
        (["latency_s", "digits/adm/none@cpu-eager"], "did you mean"),
        (["accuracy_x", CELL], "no run has 'accuracy_x'"),
        (["latency_s", CELL, "--last", "1"], "--last"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(command, results, arguments, message):
    done = command("history", *arguments, "--results", results)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_nothing_is_written_through_a_link(command, results, tmp_path):
    build_history(tmp_path / "own", [0.001, 0.001])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "own" / "history").symlink_to(tmp_path / "elsewhere")
    done = command("history", "latency_s", CELL, "--results", tmp_path / "own")
    assert done.returncode == 2 and "not a link" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


def test_two_runs_are_shown_and_a_note_says_that_they_are_few(command, tmp_path):
    build_history(tmp_path, [0.001, 0.002])
    done = command("history", "latency_s", CELL, "--results", tmp_path)
    assert done.returncode == 0 and "2 runs: change points need 6 or more" in done.stdout
