"""`bench targets`: a row for each workload, from real trainings that took all of their steps."""

from __future__ import annotations

from pathlib import Path

import pytest

MATRIX = """
[train]
workload = "breast-cancer-mlp"
optimizer = "tuned"
seed = [0, 1]

[infer]
compression = "none"
backend = "cpu-eager"

[budget]
stop_at_target = {stops}
max_launches = 1
sample_s = 0.01
"""


def run(command, folder: Path, stops: str) -> str:
    (folder / "matrix.toml").write_text(MATRIX.format(stops=stops))
    ran = command("run", "--matrix", folder / "matrix.toml", "--results", folder)
    assert ran.returncode == 0, ran.stderr
    done = command("targets", "--results", folder)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.strip().startswith("breast-cancer-mlp")]
    return line


@pytest.mark.slow
def test_a_run_of_whole_trainings_gives_each_workload_a_target(command, tmp_path) -> None:
    line = run(command, tmp_path, "false")
    assert "adamw " in line and "auc" in line and " of 2" in line and "stopped" not in line


@pytest.mark.slow
def test_trainings_that_stopped_at_the_target_give_none(command, tmp_path) -> None:
    assert "seed 0 stopped at its target" in run(command, tmp_path, "true")


def test_a_run_that_is_not_there_gets_one_line(command, tmp_path) -> None:
    done = command("targets", "run-2", "--results", tmp_path)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
