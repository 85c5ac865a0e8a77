"""Axes that advance together, in a file without crosses."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import MatrixError
from bench.matrix.reading import read_matrix

TIED = """
zip = [["optimizer", "workload"]]
[train]
workload = ["digits", "diabetes-mlp"]
optimizer = ["adam", "sgd"]
[infer]
compression = ["none", "finetune"]
backend = "cpu-eager"
"""


def test_axes_tied_at_the_top_of_a_file_advance_together(tmp_path: Path) -> None:
    path = tmp_path / "tied.toml"
    path.write_text(TIED)
    cells = read_matrix(str(path)).cells
    assert {(cell.workload, cell.optimizer) for cell in cells} == {
        ("digits", "adam"),
        ("diabetes-mlp", "sgd"),
    }
    assert len(cells) == 4


def test_axes_tied_at_the_top_need_as_many_values_of_each(tmp_path: Path) -> None:
    path = tmp_path / "tied.toml"
    path.write_text(TIED.replace('"sgd"]', '"sgd", "rmsprop"]'))
    with pytest.raises(MatrixError, match="zip 1: needs as many values of each axis, or one"):
        read_matrix(str(path))
