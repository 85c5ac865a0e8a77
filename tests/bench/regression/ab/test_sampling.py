"""Samples of a command: what its processes used, what it printed, and why it failed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.regression.ab.sampling import CommandSampler, MatrixSampler, Place


def sampler(tmp_path: Path, text: str, **options: object) -> CommandSampler:
    (tmp_path / "work.py").write_text(text)
    return CommandSampler(Place("here", tmp_path), "python work.py", timeout_s=60.0, **options)


def sampled(commands: CommandSampler) -> dict[str, object]:
    return dict(commands.sample(commands.timings()[0].key))


def test_a_command_is_timed_and_its_memory_is_its_own(tmp_path):
    """Known answers: 64 MiB that are written to; without them a Python has less than this process has."""
    small = sampled(sampler(tmp_path, "pass"))
    large = sampled(
        sampler(tmp_path, "held = bytearray(64 * 2**20)\nfor at in range(0, len(held), 4096): held[at] = 1")
    )
    grown = large["peak_rss_bytes"].value - small["peak_rss_bytes"].value
    assert grown == pytest.approx(64 * 2**20, rel=0.1)
    assert small["peak_rss_bytes"].value < 40 * 2**20
    assert small["processor_s"].value > 0 and small["wall_s"].value > 0


def test_work_of_its_children_counts(tmp_path):
    busy = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'sum(range(6_000_000))'])"
    alone = sampled(
        sampler(tmp_path, "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'])")
    )
    assert sampled(sampler(tmp_path, busy))["processor_s"].value > 1.5 * alone["processor_s"].value


def test_python_is_the_sides_own(tmp_path):
    found = sampled(sampler(tmp_path, f"import sys\nassert sys.executable == {sys.executable!r}"))
    assert not found["wall_s"].reason


def test_an_interpreter_that_is_named_by_another_path_is_run_as_it_is(tmp_path):
    other = tmp_path / "elsewhere" / "python"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho from elsewhere\nexit 5\n")
    other.chmod(0o755)
    for text, reason in ((f"{other} work.py", "exit code 5: from elsewhere"), (f"{sys.executable} -c 1", "")):
        commands = CommandSampler(Place("here", tmp_path), text, timeout_s=60.0)
        assert sampled(commands)["wall_s"].reason == reason
    # Of a project's own folder for environments, a worktree has none.
    inside = CommandSampler(Place("here", tmp_path), ".venv/bin/python -c 1", timeout_s=60.0)
    assert not sampled(inside)["wall_s"].reason


def test_a_command_runs_once_before_it_is_counted(tmp_path):
    """The first run in a new worktree finds no byte code and no cached files."""
    commands = sampler(tmp_path, "open('runs', 'a').write('x')")
    commands.timings()
    assert (tmp_path / "runs").read_text() == "x"


def test_the_environment_of_a_command_is_in_nobodys_arguments(tmp_path):
    """Every user can list the arguments of all processes, and the environment may hold secrets."""
    text = (
        "import os, pathlib\nassert os.environ['TOKEN'] == 'hidden-3141'\n"
        "parent = pathlib.Path(f'/proc/{os.getppid()}/cmdline').read_bytes()\n"
        "assert b'spawner' in parent and b'hidden-3141' not in parent, parent"
    )
    (tmp_path / "work.py").write_text(text)
    many = {f"LONG_{number}": "x" * 100_000 for number in range(3)}
    place = Place("here", tmp_path, variables={"TOKEN": "hidden-3141", **many})
    found = sampled(CommandSampler(place, "python work.py", timeout_s=60.0))
    assert not found["wall_s"].reason


@pytest.mark.parametrize("ends", [True, False])
def test_what_a_command_leaves_running_is_ended_with_it(tmp_path, ends):
    text = (
        "import subprocess, sys, time\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('left', 'w').write(str(left.pid))\n" + ("" if ends else "time.sleep(600)\n")
    )
    commands = sampler(tmp_path, text)
    commands.timeout_s = 60.0 if ends else 2.0
    assert bool(sampled(commands)["wall_s"].reason) is not ends
    left = Path(f"/proc/{(tmp_path / 'left').read_text()}/stat")
    for _ in range(100):
        if not left.exists() or left.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("it goes on")


def test_the_last_number_that_it_prints_is_taken(tmp_path):
    commands = sampler(tmp_path, "print('rate 1.5')\nprint('rate 2.5')", pattern=r"rate ([0-9.]+)")
    assert [offer.metric for offer in commands.timings()][-1] == "printed"
    assert sampled(commands)["printed"].value == 2.5
    missing = sampled(sampler(tmp_path, "pass", pattern=r"rate ([0-9.]+)"))
    assert missing["printed"].value is None and "printed no number" in missing["printed"].reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("raise ValueError('no data')", "ValueError: no data"),
        ("import os\nos.kill(os.getpid(), 9)", "signal 9"),
    ],
)
def test_a_command_that_fails_says_why(tmp_path, text, reason):
    found = sampled(sampler(tmp_path, text))
    assert all(each.value is None and reason in each.reason for each in found.values())


def test_a_command_that_takes_too_long_is_ended(tmp_path):
    commands = sampler(tmp_path, "import time\ntime.sleep(60)")
    commands.timeout_s = 0.5
    assert sampled(commands)["wall_s"].reason.startswith("took too long")


def test_a_command_that_is_not_there_says_so(tmp_path):
    commands = CommandSampler(Place("here", tmp_path), "no-such-command --now", timeout_s=60.0)
    assert "exit code 127" in sampled(commands)["wall_s"].reason


def test_a_side_without_a_bench_that_serves_says_so(tmp_path):
    """An older revision: its bench has no module that launches stages one by one."""
    package = tmp_path / "bench"
    package.mkdir()
    (package / "__init__.py").touch()
    place = Place("v1", tmp_path, variables={"PYTHONPATH": str(tmp_path)})
    side = MatrixSampler(place, {"matrix": "ci", "results": "results"}, tmp_path / "log")
    with pytest.raises(BenchError, match="v1: its bench is older than `bench ab`"):
        side.timings()
    side.close()


def test_what_keeps_a_side_from_running_is_one_line(tmp_path):
    side = MatrixSampler(
        Place("here", tmp_path), {"matrix": "mine.toml", "results": str(tmp_path / "r")}, tmp_path / "log"
    )
    with pytest.raises(BenchError, match=r"^here: .*mine\.toml"):
        side.timings()
    side.close()
