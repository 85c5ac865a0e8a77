"""`bench ab`: from the command line, on a user's own repository and on a matrix."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

FAST, SLOW = "sum(range(3_000_000))\n", "sum(range(6_000_000))\n"

MATRIX = """
[train]
workload = "digits"
optimizer = "adam"
[infer]
compression = ["none", "int8-dynamic"]
backend = "cpu-eager"
[budget]
sample_s = 0.05
train_steps = 20
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("init", "-q", "-b", "main"),
        ("config", "user.name", "a"),
        ("config", "user.email", "a@example.org"),
    ):
        subprocess.run(["git", *arguments], check=True)
    (tmp_path / "work.py").write_text(FAST)
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "commit", "-q", "-m", "fast"], check=True)
    return tmp_path


def test_a_change_that_is_not_committed_is_held_against_main(command, repository):
    (repository / "work.py").write_text(SLOW)
    done = command(
        *("ab", "--command", "python work.py", "--metric", "processor_s", "--budget", "60"),
        *("--json", "found.json"),
    )
    assert done.returncode == 1, done.stderr
    assert "python work.py processor_s" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("work tree against ")
    found = json.loads((repository / "found.json").read_text())
    (finding,) = found["findings"]
    assert (found["kind"], found["exit_code"], finding["verdict"]) == ("ab", 1, "regression")
    assert finding["ratio"]["low"] > 1


def test_what_it_would_have_seen_is_said_and_strict_exits_with_3(command, repository):
    arguments = ("ab", "HEAD", "--command", "python work.py", "--metric", "wall_s", "--budget", "3")
    done = command(*arguments, "--margin", "0", "--strict")
    assert done.returncode in (1, 3), done.stderr  # one in a hundred alarms
    assert "can't tell" in done.stdout or "regression" in done.stdout


def test_a_base_that_cannot_run_is_no_all_clear(command, repository):
    (repository / "work.py").write_text("raise SystemExit(3)\n")
    subprocess.run(["git", "commit", "-q", "-a", "-m", "broken"], check=True)
    (repository / "work.py").write_text(FAST)
    done = command("ab", "HEAD", "--command", "python work.py", "--budget", "5", "--strict")
    assert done.returncode == 3, done.stderr
    assert "failed before: exit code 3" in done.stdout
    assert "nothing could be compared (3 new)" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--command", "python work.py", "--matrix", "ci"), "needs --command or --matrix"),
        ((), "needs --command or --matrix"),
        (("v9", "--command", "python work.py"), "has no commit 'v9'"),
        (("--command", "python 'work.py"), "is no command line: No closing quotation"),
        (("--command", " "), "names no program"),
        (("--command", "python work.py", "--with", "numpy"), "must be two lists with ' / ' between"),
        (("compression=none", "--matrix", "ci"), "comparing settings needs both sides"),
        (("--command", "python work.py", "--printed", "rate"), "needs one group"),
        (("--command", "python missing.py"), "fails on both sides"),
        (
            ("--command", "python work.py", "--metric", "latency"),
            "nothing to time with --metric latency; there are",
        ),
    ],
)
def test_mistakes_are_one_line(command, repository, arguments, message):
    done = command("ab", *arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_two_settings_of_a_matrix(command, repository):
    (repository / "mine.toml").write_text(MATRIX)
    done = command(
        *("ab", "compression=none", "compression=int8-dynamic", "--matrix", "mine.toml", "--cell", "infer"),
        *("--budget", "900", "--margin", "1", "--json", "found.json"),
    )
    assert done.returncode in (0, 1), done.stderr
    (finding,) = json.loads((repository / "found.json").read_text())["findings"]
    assert finding["ratio"]["launches"] >= 6 and " against " in finding["stage"]


@pytest.mark.slow
def test_a_users_own_workload_is_each_sides_own(command, repository):
    """More layers in the work tree: slower, and more FLOPs and parameters, which are exact."""
    own = """
import torch
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Workload

def make_workload() -> Workload:
    torch.manual_seed(0)
    inputs, targets = torch.randn(64, 64), torch.arange(64) % 4
    def model():
        return torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(LAYERS)), torch.nn.Linear(64, 4))
    return Workload(
        data=lambda: Data(inputs, targets, inputs, targets),
        transform=lambda images: images,
        model=model,
        loss=torch.nn.functional.cross_entropy,
        quality=accuracy_and_recall,
    )
"""
    (repository / "mine.toml").write_text(
        MATRIX.replace('"digits"', '"own:own.py:make_workload"').replace('["none", "int8-dynamic"]', '"none"')
    )
    (repository / "own.py").write_text(f"LAYERS = 2{own}")
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "commit", "-q", "-m", "mine"], check=True)
    (repository / "own.py").write_text(f"LAYERS = 12{own}")
    done = command(
        "ab", "HEAD", "--matrix", "mine.toml", "--budget", "900", "--margin", "1", "--json", "found.json"
    )
    assert done.returncode == 1, done.stderr
    found = json.loads((repository / "found.json").read_text())["findings"]
    worse = {finding["metric"] for finding in found if finding["verdict"] == "regression"}
    assert {"latency_s", "parameters"} <= worse
