"""`bench compress`: a search in ordinary runs, within its budget, and the winner that it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.commands.compress import read_budget

SPACE = (
    *("--workload", "digits", "--step", "prune-channels:0.5", "--format", "int8-dynamic"),
    *("--backend", "cpu-eager", "--backend", "onnxruntime", "--goal", "quality_loss_points <= 50"),
)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2 d", 172_800)])
def test_a_budget_has_a_unit(text: str, seconds: float) -> None:
    assert read_budget(text) == seconds


@pytest.mark.parametrize("text", ["30", "m", "1s", "-3m", "99d", "1w", ""])
def test_a_budget_without_one_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="30m or 2h"):
        read_budget(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workload", "digitss"), "did you mean 'digits'"),
        (("--workload", "digits", "--goal", "quality_loss_points"), "must be METRIC <= NUMBER"),
        (("--workload", "digits", "--minimize", "throughput"), "not better when lower"),
        (("--workload", "digits", "--step", "int8-static"), "is no step"),
        (("--workload", "digits", "--backend", "cpu-eagre"), "did you mean"),
        (("--workload", "digits", "--budget", "soon"), "--budget must be"),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(
    command: Any, tmp_path: Path, words: Any, said: str
) -> None:
    done = command("compress", *words, "--results", tmp_path / "results")
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_budget_that_ends_too_early_says_that_the_command_goes_on(bench: Any, tmp_path: Path) -> None:
    done = bench("compress", *SPACE, "--budget", "10s", "--results", tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert "candidates" in done.stderr and "Traceback" not in done.stderr
    assert "the same command goes on with it" in done.stdout


@pytest.mark.slow
def test_a_search_goes_on_where_its_budget_ended_and_its_winner_can_be_taken_away(
    bench: Any, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    begun = bench("compress", *SPACE, "--budget", "20s", "--results", results)
    assert begun.returncode in (0, 1), begun.stderr
    done = bench("compress", *SPACE, "--budget", "20m", "--results", results)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Pareto front" in done.stdout and "winner" in done.stdout
    again = bench("compress", *SPACE, "--budget", "20m", "--results", results)
    assert winner(again.stdout) == winner(done.stdout)
    assert "resumed" not in again.stderr and not re.search(r"run \S+: \d+ cells", again.stderr)
    words = shlex.split(re.search(r"take it away: bench (.*)", done.stdout)[1])  # type: ignore[index]
    words[words.index("--to") + 1] = str(tmp_path / "taken")
    exported = bench(*words)
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "taken" / "run.py").is_file()


def winner(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("winner: "))
