"""Shards that are run for real and merged: the same cells, states and exact metrics as the whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.same_runs import differences

pytestmark = pytest.mark.slow


def test_merged_shards_are_the_whole_run(bench: Any, tmp_path: Path) -> None:
    words = ("run", "--matrix", "ci", "--smoke")
    for name, options in (("whole", ()), ("1-2", ("--shard", "1/2")), ("2-2", ("--shard", "2/2"))):
        place = tmp_path / name
        done = bench(*words, *options, "--results", place)
        assert done.returncode == 0, done.stderr
    done = bench("merge", tmp_path / "1-2", tmp_path / "2-2", "--into", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    lines, compared = differences(tmp_path / "whole", tmp_path / "merged")
    assert not lines and compared["cell"] == 12
