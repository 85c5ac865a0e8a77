"""What trials cost, beside what they bring; and how optimizers rank by the tuning that they had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.frames.ranking import rank
from reports.frames.run import read_frames
from reports.frames.training import training_table
from reports.frames.tuning import TUNING_COLUMNS, trials_table
from reports.frames.view import RunView, read, records
from reports.grids.ranking import ranking_grids
from reports.grids.run import all_grids
from tests.support.trainings import build_trainings
from tests.support.tuned_runs import STEP_J, STEP_S, MadeUpTrial, MadeUpTuning, build_tuned

ADAM = (
    MadeUpTrial(1e-4, 400, 8.0),
    MadeUpTrial(1e-3, 200, 4.0),
    MadeUpTrial(1e-2, 600, 12.0, pruned=True),
    MadeUpTrial(1e-1, 40, 1.0, lost=True),
    MadeUpTrial(0.0, made=False),
)
SGD = tuple(MadeUpTrial(10.0**power, 300, 6.0) for power in (-3, -2, -1, 0))


def view_of(folder: Path, **options: Any) -> RunView:
    """Return two optimizers in three tunings, three seeds each: after two trials sgd is first, later adam."""
    tunings = {
        "adam": {
            "fixed": MadeUpTuning((800, 810, 820)),
            "trials:2": MadeUpTuning((760, 770, 780), 2, 2),
            "trials:4": MadeUpTuning((600, 610, 620), 5, 2),
        },
        "sgd": {
            "fixed": MadeUpTuning((1000, 1010, 1020)),
            "trials:2": MadeUpTuning((700, 710, 720), 2, 1),
            "trials:4": MadeUpTuning((680, 690, 700), 4, 4, at_edge=True),
        },
    }
    store = build_tuned(folder, tunings, {"adam": ADAM, "sgd": SGD}, **options)
    view = read(store, "run-1")
    store.close()
    return view


def row_of(view: RunView, optimizer: str, tuning: str, seed: int = 0) -> dict[str, Any]:
    (row,) = (
        row
        for row in records(training_table(view))
        if (row["optimizer"], row["tuning"], row["seed"]) == (optimizer, tuning, seed)
    )
    return row


def test_the_cost_of_tuning_is_the_sum_over_its_trials(tmp_path: Path) -> None:
    view = view_of(tmp_path)
    row = row_of(view, "adam", "trials:4")
    assert (row["tuning_trials"], row["tuning_steps"], row["tuning_s"]) == (4, 1240, 25.0)
    assert row["tuning_evaluation_s"] == pytest.approx(25 / 4)
    assert row["tuning_energy_j"] == pytest.approx(1240 * STEP_J)
    two = row_of(view, "adam", "trials:2")
    assert (two["tuning_trials"], two["tuning_steps"], two["tuning_s"]) == (2, 600, 12.0)
    assert row_of(view, "adam", "trials:4", seed=2)["tuning_steps"] == 1240  # shared by its seeds


def test_what_was_chosen_is_in_the_same_row(tmp_path: Path) -> None:
    view = view_of(tmp_path)
    row = row_of(view, "adam", "trials:4")
    assert (row["tuned_settings"], row["tuned_trial"], row["rate_at_edge"]) == ("lr=0.001", 2, False)
    assert row["tuning_trials_reached"] == 3
    assert "1 trial of 4 diverged or failed" in row["notes"]
    assert "tuned rate at the edge: no trial had a higher rate" in row_of(view, "sgd", "trials:4")["notes"]


def test_time_to_target_stands_with_and_without_its_trials(tmp_path: Path) -> None:
    row = row_of(view_of(tmp_path), "adam", "trials:4")
    assert row["time_to_target_by_steps_s"] == pytest.approx(row["steps_to_target"] * STEP_S)
    assert row["steps_to_target_with_tuning"] == row["steps_to_target"] + 1240
    assert row["time_to_target_with_tuning_s"] == pytest.approx((row["steps_to_target"] + 1240) * STEP_S)


def test_without_a_timed_step_clocks_are_added(tmp_path: Path) -> None:
    row = row_of(view_of(tmp_path, steps_timed=False), "adam", "trials:4")
    assert row["time_to_target_with_tuning_s"] == pytest.approx(row["time_to_target_s"] + 25)
    assert row["tuning_energy_j"] is None


def test_the_energy_of_trials_is_estimated_where_the_matrix_has_watts(tmp_path: Path) -> None:
    row = row_of(view_of(tmp_path, request={"estimate": {"watts": 10.0}}), "adam", "trials:2")
    assert row["tuning_energy_estimate_j"] == pytest.approx(10 * 600 * STEP_S)


def test_a_training_without_trials_has_no_cost_of_tuning(tmp_path: Path) -> None:
    row = row_of(view_of(tmp_path), "adam", "fixed")
    assert [row[column] for column in TUNING_COLUMNS] == [None] * len(TUNING_COLUMNS)
    assert not row["notes"]


def test_seconds_are_unknown_where_a_trial_was_reused_and_steps_are_not(tmp_path: Path) -> None:
    trials = {"adam": (MadeUpTrial(1e-3, 100, None), MadeUpTrial(1e-2, 100, 2.0))}
    store = build_tuned(tmp_path, {"adam": {"trials:2": MadeUpTuning((300,), 2)}}, trials)
    row = row_of(read(store, "run-1"), "adam", "trials:2")
    assert (row["tuning_steps"], row["tuning_s"]) == (200, None)
    assert row["time_to_target_with_tuning_s"] == pytest.approx((row["steps_to_target"] + 200) * STEP_S)
    assert "time of trials unknown" in row["notes"]


def test_each_trial_has_a_row_with_how_it_ended(tmp_path: Path) -> None:
    rows = [row for row in records(trials_table(view_of(tmp_path))) if row["optimizer"] == "adam"]
    four = [row for row in rows if row["tuning"] == "trials:4"]
    assert [row["ended"] for row in four] == ["reached", "reached", "pruned", "lost", "not needed"]
    assert [row["chosen"] for row in four] == [False, True, False, False, False]
    assert [row["rate"] for row in four[:4]] == [1e-4, 1e-3, 1e-2, 1e-1]
    assert sum(row["steps_trained"] for row in four) == 1240
    assert len(rows) == 5 + 2 and "seed" not in rows[0]


def test_a_run_without_trials_has_no_table_of_them(tmp_path: Path) -> None:
    store = build_trainings(tmp_path, {"digits/adam": (500.0,)})
    assert trials_table(read(store, "run-1")).empty


def test_the_report_shows_tuning_only_where_there_is_any(tmp_path: Path) -> None:
    frames = read_frames(view_of(tmp_path / "tuned"))
    assert len(frames["trials"]) == 5 + 2 + 4 + 2
    (grid,) = (grid for grid in all_grids(frames) if grid.name == "training")
    assert {"tuning", "tuned to", "trials", "steps of trials", "time to target with trials"} <= set(
        grid.columns
    )
    plain = read_frames(read(build_trainings(tmp_path / "plain", {"digits/adam": (500.0, 510.0)}), "run-1"))
    assert "trials" not in plain
    (grid,) = (grid for grid in all_grids(plain) if grid.name == "training")
    assert not {"tuning", "tuned to", "trials", "time of trials"} & set(grid.columns)


def test_optimizers_with_other_tunings_are_other_contestants(tmp_path: Path) -> None:
    ranking = rank(view_of(tmp_path))
    names = [row["optimizer"] for row in records(ranking.ranking)]
    assert sorted(names) == sorted(f"{name}, {how}" for name in ("adam", "sgd") for how in TUNINGS)
    assert names[0] == "adam, trials:4"


TUNINGS = ("fixed", "trials:2", "trials:4")


def test_ranks_stand_side_by_side_for_each_number_of_trials(tmp_path: Path) -> None:
    ranking = rank(view_of(tmp_path))
    rows = {(row["optimizer"], row["tuning"]): row for row in records(ranking.tuning)}
    assert [rows["adam", tuning]["rank"] for tuning in TUNINGS] == [1, 2, 1]
    assert [rows["sgd", tuning]["rank"] for tuning in TUNINGS] == [2, 1, 2]
    assert [rows["adam", tuning]["tuning_steps"] for tuning in TUNINGS] == [None, 600, 1240]
    assert rows["adam", "trials:4"]["steps_to_target"] == pytest.approx(610)
    (grid,) = (grid for grid in ranking_grids(ranking) if grid.name == "tuning")
    assert grid.columns == (
        "optimizer",
        "fixed",
        "trials:2",
        "steps of trials:2",
        "trials:4",
        "steps of trials:4",
    )
    text = {row[0].text: [entry.text for entry in row[1:]] for row in grid.rows}
    assert text["adam"][3] == "610 steps, 6.10 s (rank 1 of 2)" and text["adam"][4] == "1,240"


def test_one_kind_of_tuning_is_not_worth_a_table(tmp_path: Path) -> None:
    store = build_tuned(tmp_path, {"adam": {"trials:2": MadeUpTuning((300, 310, 320), 2)}}, {"adam": ADAM})
    ranking = rank(read(store, "run-1"))
    assert ranking.tuning.empty
    assert [row["optimizer"] for row in records(ranking.ranking)] == ["adam"]
    assert "tuning" not in [grid.name for grid in ranking_grids(ranking)]


def test_a_cell_of_an_older_store_was_trained_with_the_settings_as_written(tmp_path: Path) -> None:
    store = build_trainings(tmp_path, {"digits/adam": (500.0,)})
    (row,) = records(training_table(read(store, "run-1")))
    assert row["tuning"] == "fixed" and row["tuning_steps"] is None
