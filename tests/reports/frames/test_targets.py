"""Targets by the rule: what the median seed held by three quarters of its steps."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.analysis.to_target import held_by
from reports.frames.targets import targets_table
from reports.frames.view import read
from tests.support.trainings import DIVERGED, TARGET, build_trainings, trained


@pytest.mark.parametrize(
    ("qualities", "until", "held"),
    [
        ((0.5, 0.7, 0.6, 0.9), 4, 0.6),
        ((0.5, 0.7, 0.6, 0.9), 2, 0.5),
        ((0.9, 0.1, 0.9, 0.1), 4, 0.1),
        ((0.5,), 4, None),
        ((0.5, 0.7), 1, None),
        ((0.5, float("nan"), 0.6), 4, None),
        ((0.5, float("inf"), 0.6, 0.4), 4, 0.4),
    ],
)
def test_a_level_is_held_at_two_evaluations_in_a_row(
    qualities: tuple[float, ...], until: float, held: float | None
) -> None:
    assert held_by(qualities, range(1, len(qualities) + 1), until) == held


def rows(folder: Path, **trainings: object) -> dict[str, dict[str, object]]:
    store = build_trainings(folder, {f"{name}/adam": each for name, each in trainings.items()})  # type: ignore[misc]
    view = read(store, "run-1")
    store.close()
    return {row["workload"]: row for row in targets_table(view).to_dict("records")}


def test_the_target_is_what_the_median_seed_held_by_three_quarters_of_the_steps(tmp_path: Path) -> None:
    seeds = tuple(trained(needed, stops=False) for needed in (900.0, 1200.0, 1090.0))
    found = rows(tmp_path, digits=seeds)["digits"]
    # Of 1,200 steps, evaluated every 60: 840 and 900 are the last two by three quarters.
    assert found["target_by_rule"] == 0.693  # 0.9 × 840 / 1,090 is 0.6936
    assert found["lowest"] == pytest.approx(TARGET * 840 / 1200)
    assert found["highest"] == pytest.approx(TARGET * 840 / 900)
    assert (found["target"], found["seeds"], found["held_by_the_end"], found["reason"]) == (TARGET, 3, 3, "")


def test_trainings_that_stopped_or_failed_set_no_target_and_it_is_said_why(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        digits=(trained(300.0), trained(300.0)),
        letters=(trained(900.0, stops=False), DIVERGED),
    )
    assert found["digits"]["reason"] == "seed 0 stopped at its target: run with stop_at_target = false"
    assert "seed 1 is diverged" in str(found["letters"]["reason"])
    assert all(math.isnan(row["target_by_rule"]) for row in found.values())  # type: ignore[arg-type]
