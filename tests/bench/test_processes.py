"""A program that the suite starts and that is killed is one line, never a traceback or a wait without end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import selftest
from bench.commands.doctor import measure_launches
from bench.errors import BenchError
from bench.processes import output_of
from bench.selftest import harness


@pytest.fixture
def killed_python(tmp_path, monkeypatch) -> Path:
    """Put a Python in the place of the suite's own that is killed as it starts."""
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nkill -9 $$\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    return path


def test_what_a_command_printed_is_returned_and_how_it_failed_is_told():
    environment = dict(os.environ)
    assert output_of(["sh", "-c", "echo 12"], environment) == "12\n"
    for script, told in [
        ("echo no such file >&2; exit 3", "no such file$"),
        ("exit 3", "ended with exit code 3$"),
        ("echo a warning >&2; kill -9 $$", "was killed by SIGKILL$"),
        ("kill -40 $$", "was killed by signal 40$"),
    ]:
        with pytest.raises(BenchError, match=told):
            output_of(["sh", "-c", script], environment)


def test_a_probe_or_a_selftest_that_is_killed_is_told_in_one_line(killed_python, tmp_path):
    with pytest.raises(BenchError, match=r"bench\.selftest\.doctor_launch 1 was killed by SIGKILL"):
        measure_launches(threads=1, launches=1)
    with pytest.raises(BenchError, match=r"bench\.selftest\.loop \d+ was killed by SIGKILL"):
        selftest.print_part("loop", tmp_path)
    with pytest.raises(BenchError, match=r"bench run .* was killed by SIGKILL"):
        harness.run_matrix(tmp_path, harness.MATRIX)
