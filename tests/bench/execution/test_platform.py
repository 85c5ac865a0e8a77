"""On any system but Linux: one line and exit code 2, before anything is imported that fails there."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import bench as package
from bench.errors import BenchError
from bench.execution.platform import require_linux

# What Python lacks on macOS (the functions) and on Windows (the modules, too).
ELSEWHERE = """
import os, sys, sysconfig
sysconfig.get_config_vars()  # reads a file that is named after the system, and remembers it
sys.platform = {system!r}
for name in ("sched_getaffinity", "sched_setaffinity", "pidfd_open", "eventfd"):
    delattr(os, name)
if sys.platform == "win32":
    for name in ("fcntl", "resource", "pwd", "grp", "termios"):
        sys.modules[name] = None
import bench.__main__
sys.argv = ["bench", *{words!r}]
bench.__main__.main()
"""


def run_elsewhere(system: str, *words: str) -> subprocess.CompletedProcess[str]:
    code = ELSEWHERE.format(system=system, words=words)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("system", "name"), [("darwin", "macOS"), ("win32", "Windows"), ("aix", "aix")])
@pytest.mark.parametrize("words", [("run", "--matrix", "quick"), ("machine",), ("-v", "report")])
def test_a_command_says_which_system_it_needs_and_which_this_is(system, name, words):
    done = run_elsewhere(system, *words)
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("bench: bench requires Linux, ") and line.endswith(f"; this is {name}")


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("run", "--help")])
def test_help_and_version_work_on_macos(words):
    done = run_elsewhere("darwin", *words)
    assert done.returncode == 0 and done.stdout and not done.stderr


def test_list_works_on_macos_and_says_that_nothing_runs_there():
    done = run_elsewhere("darwin", "list", "backends")
    assert done.returncode == 0, done.stderr
    assert "requires macOS, where this suite does not run yet" in done.stdout
    assert done.stderr == "bench requires Linux: nothing in this list can run on this system\n"


def test_measure_raises_the_same_line(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(BenchError, match=r"bench requires Linux, .*; this is macOS"):
        package.measure(torch.nn.Linear(2, 2), torch.ones(2, 2), results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_linux_is_enough():
    require_linux()
