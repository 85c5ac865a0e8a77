"""Tables too long for people: which rows stand for all."""

from __future__ import annotations

import pandas as pd

from reports.grids.cell import plain
from reports.grids.grid import build_grid
from reports.grids.large import MAX_ROWS, best_rows

AXES = {"workload": "digits", "precision": "fp32", "batch_size": 1, "train_batch_size": 128}


def cells(seeds: int) -> pd.DataFrame:
    rows = [
        {**AXES, "compression": compression, "backend": "cpu-eager", "optimizer": optimizer, "seed": seed}
        | {"latency_s": None if seed == 1 else 1e-3 * (10 + seed % 7)}
        for compression in ("none", "finetune")
        for optimizer in ("adam", "sgd")
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows).assign(schedule="constant")


def test_a_table_that_people_can_read_is_whole() -> None:
    frame = cells(3)
    shown, left_out = best_rows("inference", frame)
    assert shown is frame and not left_out


def test_a_longer_one_has_the_quickest_of_each_group_and_says_so() -> None:
    frame = cells(14)
    shown, left_out = best_rows("inference", frame, most=10)
    assert len(shown) == 4 and set(shown["latency_s"]) == {0.010} and set(shown["seed"]) == {0}
    assert list(shown["compression"]) == ["none", "none", "finetune", "finetune"]
    assert left_out.startswith("4 of 56 rows: the lowest latency_s of each workload × compression")


def test_groups_are_given_up_from_the_last_until_few_are_left() -> None:
    shown, left_out = best_rows("inference", cells(14), most=2)
    assert list(shown["compression"]) == ["none", "finetune"] and left_out.endswith("batch_size.")


def test_a_table_without_groups_has_its_first_rows() -> None:
    frame = pd.DataFrame({"part": range(9)})
    shown, left_out = best_rows("overhead", frame, most=4)
    assert list(shown["part"]) == [0, 1, 2, 3] and left_out == "The first 4 of 9 rows."


def test_no_table_for_people_is_longer() -> None:
    frame = cells(MAX_ROWS // 2)
    grid = build_grid("inference", "Inference", [("optimizer", plain("optimizer"))], frame)
    assert len(grid.rows) <= MAX_ROWS < len(frame) and grid.left_out
