"""Two commands that ask for the same run have one identity, by which a run is resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.execution.options import RunOptions
from bench.execution.preparation import prepare

MATRIX = """
[train]
workload = "digits"
optimizer = ["sgd", "adam"]
"""


def test_the_same_cells_have_one_identity_and_others_another(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MATRIX)
    options = RunOptions(str(path), tmp_path / "results")
    found = [prepare(each, fetch=False).identity for each in (options, options, replace(options, smoke=True))]
    path.write_text(MATRIX.replace('"adam"', '"adamw"'))
    other = prepare(options, fetch=False).identity
    assert found[0] == found[1] and len({*found, other}) == 3
