"""`bench bisect`: says what it does, names the culprit, and refuses in one line."""

from __future__ import annotations

import pytest

from bench.analysis.statistics import Interval
from bench.regression.bisect import Effect
from bench.regression.bisect_by_ab import AbProcess
from tests.support.scratch_repository import commit, git, start


@pytest.fixture
def hashes(tmp_path, monkeypatch) -> list[str]:
    """Make the current folder a repository that is slow from its sixth commit on."""
    start(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = [commit(tmp_path, f"Change {number}", file=f"{number}") for number in range(9)]

    def compare(self: AbProcess, before: str, after: str, budget_s: float, border: float = 1.0) -> Effect:
        takes = {each: 1.0 if place < 5 else 1.5 for place, each in enumerate(made)}
        value = takes[after] / takes[before]
        return Effect(Interval(value, 0.98 * value, 1.02 * value, 6, "recorded"))

    monkeypatch.setattr(AbProcess, "__call__", compare)
    return made


def test_it_names_the_commit_and_leaves_with_0(command, hashes):
    done = command("bisect", hashes[0], "--command", "python train.py")
    assert done.returncode == 0, done.stderr
    assert f"first bad commit: {hashes[5]}" in done.stdout and "Change 5" in done.stdout
    assert f"git show {hashes[5][:10]}" in done.stdout


def test_several_that_remain_are_exit_code_3(command, hashes):
    done = command("bisect", hashes[0], "HEAD", "--command", "x", "--skip", hashes[4])
    assert done.returncode == 3 and "one of 2 commits" in done.stdout


def test_uncommitted_changes_are_said_to_take_no_part(command, hashes, tmp_path):
    (tmp_path / "file").write_text("changed")
    done = command("bisect", hashes[0], "--command", "x")
    assert done.returncode == 0 and "note: uncommitted changes take no part" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say what to measure: either --command, or --matrix with --cell and --metric"),
        (["--command", "x", "--cell", "y"], "either --command"),
        (["--cell", "y", "--metric", "latency_s"], "--matrix is missing"),
        (["--command", "x", "--skip", "nothing"], "no commit 'nothing'"),
        (["--command", "x", "--budget", "0"], "--budget"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(command, hashes, options, message):
    done = command("bisect", hashes[0], "HEAD", *options)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_repository_is_one_line(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    done = command("bisect", "a", "b", "--command", "x")
    assert done.returncode == 2 and "is in no git repository" in done.stderr


def test_ctrl_c_ends_it_with_130(command, hashes, monkeypatch):
    def interrupted(*_: object) -> Effect:
        raise KeyboardInterrupt

    monkeypatch.setattr(AbProcess, "__call__", interrupted)
    done = command("bisect", hashes[0], "--command", "x")
    assert done.returncode == 130 and "interrupted" in done.stdout


@pytest.mark.slow
def test_a_planted_slowdown_is_found_among_16_commits_by_measuring(command, tmp_path, monkeypatch):
    """Half as much work again from one commit on; a later one cannot run."""
    start(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = []
    for number in range(17):
        work = f"sum(range({3_000_000 if number < 11 else 4_500_000}))\n"
        made.append(commit(tmp_path, f"Change {number}", **{"work.py": "(" if number == 12 else work}))
    options = ("--command", "python -I -S work.py", "--metric", "processor_s", "--budget", "20")
    done = command("bisect", made[0], "HEAD", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"first bad commit: {made[11]}" in done.stdout and "against its parent: 1." in done.stdout
    assert git(tmp_path, "worktree", "list").count("\n") == 0
