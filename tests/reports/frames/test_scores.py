"""Optimizers over their seeds: a seed that never got there counts as later than any that did."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.records import Result
from reports.frames import training_table
from reports.frames.scores import fastest, optimizer_scores
from reports.frames.view import read
from tests.support.synthetic_run import Synthetic, build

DIVERGED = Result("diverged", "the mean training loss is nan")


@pytest.mark.parametrize(
    ("lost", "reached", "steps"), [((), 3, 630), ((2,), 2, 630), ((0,), 2, 660), ((0, 2), 1, None)]
)
def test_the_median_takes_seeds_that_diverged_for_the_latest(
    tmp_path: Path, lost: tuple[int, ...], reached: int, steps: float | None
) -> None:
    results = {f"train digits/adam/{seed}": DIVERGED for seed in lost}
    made_up = Synthetic(optimizers=("adam",), compressions=("none",), seeds=(0, 1, 2), results=results)
    (score,) = optimizer_scores(training_table(read(build(tmp_path, made_up), "run-1")), "digits")
    assert (score.seeds, score.reached, score.steps) == (3, reached, steps)
    assert (score.time_s is None) == (steps is None)


def test_the_fastest_has_the_least_time_and_not_the_most_quality(tmp_path: Path) -> None:
    made_up = Synthetic(compressions=("none",))
    scores = optimizer_scores(training_table(read(build(tmp_path, made_up), "run-1")), "digits")
    assert [score.label for score in scores] == ["momentum", "adam", "sgd"]
    best = fastest(reversed(scores))
    assert best is not None and best.label == "momentum" and fastest([]) is None
