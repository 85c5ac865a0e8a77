"""The table of optimizers: each over its seeds, and the terminal's columns of it."""

from __future__ import annotations

from pathlib import Path

from bench.records import Result
from reports.frames.run import read_frames
from reports.frames.view import read
from reports.grids.optimizers import optimizer_grids
from tests.support.short_tables import short_tables
from tests.support.synthetic_run import Synthetic, build


def test_a_row_holds_the_medians_of_an_optimizers_seeds(tmp_path: Path) -> None:
    store = build(tmp_path, Synthetic(seeds=(0, 1, 2)))
    (grid,) = optimizer_grids(read_frames(read(store, "run-1")))
    steps = grid.columns.index("steps to target")
    rows = {row[0].text: row for row in grid.rows}
    assert list(rows) == ["momentum", "adam", "sgd"]
    assert rows["adam"][1].text == "3/3" and rows["adam"][steps].text == "630"
    assert (rows["sgd"][steps].text, rows["sgd"][steps].detail) == ("> 1,200", "censored")
    assert ("quality metric", "accuracy") in grid.shared


def test_the_terminal_shows_the_same_numbers(tmp_path: Path) -> None:
    store = build(tmp_path, Synthetic(seeds=(0, 1, 2)))
    (grid,) = optimizer_grids(read_frames(read(store, "run-1")))
    training = short_tables(store, "run-1")[0]
    assert training.columns == ("optimizer", "reached", "steps", "time to target", "step time", "quality")
    assert [row[:2] for row in training.rows] == [(row[0].text, row[1].text) for row in grid.rows]
    assert training.rows[2][2] == "> 1,200 (censored)"
    assert training.rows[0][4] == "10.0 ms (9.75 to 10.3)†"


def test_an_optimizer_whose_trainings_failed_is_named_with_what_became_of_them(tmp_path: Path) -> None:
    failed = Result("diverged", "the mean training loss is nan")
    store = build(tmp_path, Synthetic(optimizers=("adam",), results={"train digits/adam": failed}))
    assert short_tables(store, "run-1")[0].rows[0][1:3] == ("0/1", "diverged")
