"""`bench rank`: prints a ranking with verdicts, leaves its tables and figure, and refuses in one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.support.trainings import build_trainings

FIVE = (500.0, 520.0, 490.0, 505.0, 515.0)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranked")
    needed = {
        f"{workload}/{name}": tuple(factor * each for each in FIVE)
        for workload in ("digits", "letters")
        for name, factor in (("sgd", 2.0), ("adam", 1.0))
    }
    build_trainings(folder, needed).close()
    return folder


def test_it_prints_verdicts_and_the_score_and_leaves_tables_and_a_figure(command, results):
    done = command("rank", "--baseline", "adam", "--results", results)
    assert done.returncode == 0, done.stderr
    assert "digits: verdicts" in done.stdout and ", faster" in done.stdout
    assert "score vs adam" in done.stdout
    folder = results / "run-1" / "ranking"
    assert str(folder) in done.stdout.splitlines()[-1]
    assert (folder / "performance-profile.png").read_bytes().startswith(b"\x89PNG")
    assert b"sgd" in (folder / "performance-profile.svg").read_bytes()
    pairs = pd.read_csv(folder / "pairs.csv")
    assert set(pairs["verdict"]) <= {"faster", "slower", "can't tell"} and len(pairs) == 6
    for name in ("optimizers", "across", "profile"):
        assert len(pd.read_csv(folder / f"{name}.csv"))


def test_it_is_the_same_each_time(command, results):
    once, again = (command("rank", "run-1", "--by-steps", "--results", results).stdout for _ in range(2))
    assert once == again and "by steps" in once


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "adma"], "did you mean 'adam'?"),
        (["run-2"], "no run 'run-2'"),
        (["--difference", "0"], "--difference"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(command, results, arguments, message):
    done = command("rank", *arguments, "--results", results)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_nothing_is_written_through_a_link(command, results, tmp_path):
    (results / "run-1").mkdir(exist_ok=True)
    link = results / "run-1" / "ranking"
    if link.exists():
        link.rename(tmp_path / "kept")
    link.symlink_to(tmp_path)
    done = command("rank", "--results", results)
    link.unlink()
    assert done.returncode == 2 and "not a link" in done.stderr
    assert not list(tmp_path.glob("*.csv"))


def test_the_help_lists_it(command):
    assert "rank " in command("--help").stdout


def test_rates_of_an_optimizer_are_a_table_and_a_figure_of_their_own(command, tmp_path):
    needed = {
        f"digits/{name}": (steps, steps + 10, steps + 20)
        for name, steps in (("sgd:lr=0.01", 1e6), ("sgd:lr=0.1", 500.0), ("sgd:lr=1", 300.0))
    }
    build_trainings(tmp_path, needed).close()
    done = command("rank", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Sensitivity: learning rates that reach the target" in done.stdout and "0.1 to 1" in done.stdout
    folder = tmp_path / "run-1" / "ranking"
    assert (folder / "sensitivity-lr-digits.png").read_bytes().startswith(b"\x89PNG")
    assert list(pd.read_csv(folder / "sensitivity.csv")["decades"]) == [1.0]
    assert len(pd.read_csv(folder / "sensitivity_points.csv")) == 3
