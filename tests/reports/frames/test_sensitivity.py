"""Which rates and batch sizes reach the target, as `bench rank` and reports say it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bench.records import Result
from reports.frames.run import read_frames
from reports.frames.sensitivity import BATCH_SIZE, RATE, Sensitivity, sensitivity
from reports.frames.view import read, records
from reports.grids.sensitivity import sensitivity_grids
from reports.plots.sensitivity import draw_sensitivity
from tests.support.synthetic_run import Synthetic, build
from tests.support.trainings import BUDGET, DIVERGED, build_trainings, trained

NEVER = 1e6
RATES: dict[str, tuple[float | Result, ...]] = {
    "digits/sgd:lr=0.01": (NEVER, NEVER, NEVER),
    "digits/sgd:lr=0.1": (800.0, 900.0, 1000.0),
    "digits/sgd:lr=1": (300.0, 310.0, NEVER),
    "digits/sgd:lr=10": (DIVERGED, DIVERGED, 900.0),
    "digits/adam": (250.0, 260.0, 270.0),
    "digits/adam:lr=0.01": (200.0, 210.0, 220.0),
    "digits/adam:lr=0.01,eps=0.1": (200.0, 210.0, 220.0),
}


def sensitivity_of(folder: Path, needed: dict[str, Any], **made_up: Any) -> Sensitivity:
    store = build_trainings(folder, needed, made_up)
    view = read(store, "run-1")
    store.close()
    return sensitivity(view)


def over_batch_sizes(folder: Path, sizes: tuple[int, ...], rates: tuple[float, ...]) -> Sensitivity:
    """Return trainings that follow S = 200 (1 + 64 / B), twice as long at every rate but the first."""
    results = {
        f"train digits/adam:lr={rate}/{seed} b{size}": trained(
            (1 if place == 0 else 2) * 200 * (1 + 64 / size) * (1 + 0.01 * seed)
        )
        for place, rate in enumerate(rates)
        for size in sizes
        for seed in range(3)
    }
    made_up = Synthetic(
        optimizers=tuple(f"adam:lr={rate}" for rate in rates),
        compressions=("none",),
        backends=("cpu-eager",),
        seeds=(0, 1, 2),
        train_batch_sizes=sizes,
        results=results,
    )
    store = build(folder, made_up)
    view = read(store, "run-1")
    store.close()
    return sensitivity(view)


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> Sensitivity:
    return sensitivity_of(tmp_path_factory.mktemp("rates"), RATES)


def test_the_range_of_rates_is_a_number_of_decades(rates: Sensitivity) -> None:
    sgd, adam = records(rates.ranges)
    assert (sgd["optimizer"], sgd["setting"], sgd["values"], sgd["reaching"]) == ("sgd", RATE, 4, 2)
    assert (sgd["low"], sgd["best"], sgd["high"]) == (0.1, 1.0, 1.0)
    assert (sgd["below"], sgd["above"]) == (0.01, 10.0)
    assert sgd["decades"] == pytest.approx(1) and sgd["most_decades"] == pytest.approx(3)
    assert sgd["steps_to_target"] == pytest.approx(310, rel=0.02)  # between evaluations 60 steps apart
    assert (adam["optimizer"], adam["values"]) == ("adam", 2)
    assert adam["most_decades"] is None and adam["best_at_end"] and adam["low"] == 0.001  # its default


def test_each_rate_has_what_its_seeds_needed_and_what_became_of_them(rates: Sensitivity) -> None:
    rows = {row["value"]: row for row in records(rates.points) if row["optimizer"] == "sgd"}
    assert list(rows) == [0.01, 0.1, 1.0, 10.0]
    assert [row["reached"] for row in rows.values()] == [0, 3, 2, 1]
    assert (
        rows[0.1]["steps_to_target"] == pytest.approx(900, rel=0.02) and rows[0.01]["steps_to_target"] is None
    )
    assert rows[0.1]["samples_to_target"] == pytest.approx(128 * rows[0.1]["steps_to_target"])
    assert rows[10.0]["states"] == "diverged" and rows[0.01]["states"] == "censored"
    assert {row["budget_steps"] for row in rows.values()} == {BUDGET}


def test_a_run_with_one_rate_each_has_no_sensitivity(tmp_path: Path) -> None:
    found = sensitivity_of(tmp_path, {"digits/adam": (250.0,), "digits/sgd": (300.0,)})
    assert found.ranges.empty and found.points.empty
    assert sensitivity_grids(found.ranges) == []


def test_batch_sizes_have_a_critical_one_where_the_trade_off_shows(tmp_path: Path) -> None:
    found = over_batch_sizes(tmp_path, (16, 32, 64, 128, 256), rates=(0.001,))
    (row,) = records(found.ranges)
    assert (row["setting"], row["values"], row["train_batch_size"]) == (BATCH_SIZE, 5, None)
    # Steps are read between evaluations 60 steps apart, off by 1 %.
    assert row["critical_batch"] == pytest.approx(64, rel=0.05)
    assert 60 < row["critical_batch_low"] < row["critical_batch"] < row["critical_batch_high"] < 68
    assert row["min_steps"] == pytest.approx(202, rel=0.05)
    samples = [point["samples_to_target"] for point in records(found.points)]
    assert samples == sorted(samples) and samples[0] == pytest.approx(16 * 1010, rel=0.02)


def test_each_batch_size_counts_at_its_best_rate(tmp_path: Path) -> None:
    found = over_batch_sizes(tmp_path, (64, 128, 256), rates=(0.001, 0.01))
    by_setting = {setting: [] for setting in (RATE, BATCH_SIZE)}
    for row in records(found.ranges):
        by_setting[row["setting"]].append(row)
    assert [row["train_batch_size"] for row in by_setting[RATE]] == [64, 128, 256]
    (row,) = by_setting[BATCH_SIZE]
    assert row["critical_batch"] == pytest.approx(64, rel=0.2)
    points = {row["value"]: row for row in records(found.points) if row["setting"] == BATCH_SIZE}
    assert points[64]["steps_to_target"] == pytest.approx(404, rel=0.02)


def test_a_size_at_which_a_seed_missed_the_target_is_left_out_of_the_fit(tmp_path: Path) -> None:
    # At 8 a training needs 1,800 steps, more than its budget of 1,200.
    found = over_batch_sizes(tmp_path, (8, 32, 64), rates=(0.001,))
    (row,) = records(found.ranges)
    assert row["reaching"] == 2 and row["critical_batch"] is None


def test_the_tables_say_how_wide_the_range_is_at_least_and_at_most(rates: Sensitivity) -> None:
    (grid,) = sensitivity_grids(rates.ranges)
    columns = list(grid.columns)
    texts = {row[columns.index("optimizer")].text: [entry.text for entry in row] for row in grid.rows}
    assert texts["sgd"][columns.index("reach the target")] == "2/4"
    assert texts["sgd"][columns.index("range")] == "0.1 to 1"
    assert texts["sgd"][columns.index("decades")] == "1.00 to 3.00"
    assert texts["adam"][columns.index("decades")].startswith("≥ 1.00 (reached at the lowest and the highest")
    assert texts["adam"][columns.index("best")] == "0.01 (at the end)"


def test_a_figure_takes_three_rates_of_an_optimizer(rates: Sensitivity) -> None:
    plot = draw_sensitivity(rates.ranges, rates.points, "digits", RATE)
    assert plot.name == "sensitivity-lr-digits"
    assert b"<!-- sgd  1.0 to 3.0 decades -->" in plot.svg and b"<!-- adam" not in plot.svg
    assert draw_sensitivity(rates.ranges, rates.points, "digits", BATCH_SIZE) is None
    few = rates.ranges[rates.ranges["optimizer"] == "adam"]
    assert draw_sensitivity(few, rates.points, "digits", RATE) is None


def test_the_figure_of_batch_sizes_names_the_critical_one(tmp_path: Path) -> None:
    found = over_batch_sizes(tmp_path, (16, 64, 256), rates=(0.001,))
    plot = draw_sensitivity(found.ranges, found.points, "digits", BATCH_SIZE)
    (row,) = records(found.ranges)
    assert not math.isinf(row["critical_batch"])
    assert f"<!-- adam  critical size {row['critical_batch']:#.3g}".rstrip(".").encode() in plot.svg


def test_reports_have_the_tables_and_the_figure_only_where_rates_vary(tmp_path: Path) -> None:
    store = build_trainings(tmp_path / "rates", RATES)
    frames = read_frames(read(store, "run-1"))
    assert {"sensitivity", "sensitivity_points"} <= frames.keys()
    plain = build(tmp_path / "plain", Synthetic())
    assert "sensitivity" not in read_frames(read(plain, "run-1"))
