"""Scores across workloads are the published ones, and say how sure they are."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.profiles import (
    bootstrap_medians,
    integrated_score,
    median_times,
    performance_profile,
    performance_ratios,
    settled,
    speedups,
    standings,
)

ALGOPERF = Path(__file__).parents[2] / "data" / "algoperf_v06_times.csv"
SUBMISSIONS, STUDIES = ("baseline", "shampoo"), ("study_0", "study_1", "study_2")


@pytest.fixture(scope="module")
def algoperf() -> tuple[np.ndarray, list[str]]:
    """Return the best trial of each study, (submissions, workloads, studies), and the workloads."""
    with ALGOPERF.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["ruleset"] == "external_tuning"]
    workloads = sorted({row["workload"].rpartition("_")[0] for row in rows})
    times = np.full((len(SUBMISSIONS), len(workloads), len(STUDIES)), math.inf)
    for row in rows:
        workload = row["workload"].rpartition("_")[0]  # without the framework
        place = SUBMISSIONS.index(row["submission"]), workloads.index(workload), STUDIES.index(row["study"])
        times[place] = min(times[place], float(row["seconds_to_target"] or math.inf))
    return times, workloads


def test_the_scores_of_algoperf_come_out_to_four_digits(algoperf):
    times, workloads = algoperf
    assert len(workloads) == 8
    scores = integrated_score(performance_ratios(median_times(times)))
    assert [f"{score:.4f}" for score in scores] == ["0.4590", "0.6244"]


def test_the_difference_between_algoperfs_scores_is_not_settled(algoperf):
    times, workloads = algoperf
    baseline, shampoo = standings(times, baseline=0)
    assert shampoo.difference.value == pytest.approx(0.1654, abs=1e-4)
    assert shampoo.difference.low < 0 < shampoo.difference.high
    assert not settled(shampoo.difference, 0.0)
    assert (baseline.difference.low, baseline.difference.high) == (0, 0)
    # One workload, which only one of them can train, carries the difference.
    without = np.array(shampoo.without) - np.array(baseline.without)
    assert workloads[int(without.argmin())] == "imagenet_vit" and without.min() < 0.07 < 0.16 < without.max()


def test_intervals_are_the_same_each_time(algoperf):
    times, _ = algoperf
    assert standings(times, baseline=0) == standings(times, baseline=0)


def test_a_profile_is_the_one_of_dolan_and_more_by_hand():
    medians = np.array([[10.0, 40.0, math.inf], [20.0, 20.0, 90.0]])
    ratios = performance_ratios(medians)
    assert ratios.tolist() == [[1.0, 2.0, math.inf], [2.0, 1.0, 1.0]]
    assert performance_profile(ratios[0].tolist()) == ([1.0, 2.0, 4.0], [1 / 3, 2 / 3, 2 / 3])
    assert performance_profile(ratios[1].tolist()) == ([1.0, 2.0, 4.0], [2 / 3, 1.0, 1.0])


@pytest.mark.parametrize(
    ("ratio", "score"), [(1.0, 1.0), (2.5, 0.5), (4.0, 0.0), (4.1, 0.0), (math.inf, 0.0)]
)
def test_the_score_falls_from_one_at_the_best_to_nothing_at_four_times_the_best(ratio, score):
    assert integrated_score(np.array([ratio])) == pytest.approx(score, abs=0.0051)


def test_a_workload_that_nobody_finished_counts_for_nobody():
    ratios = performance_ratios(np.array([[1.0, math.inf], [2.0, math.inf]]))
    assert np.isinf(ratios[:, 1]).all()
    assert integrated_score(ratios)[0] == 0.5


def test_medians_take_misses_for_the_latest_and_skip_what_was_not_trained():
    times = np.array([[3.0, 1.0, math.inf], [2.0, 1.0, math.nan], [math.inf, math.inf, 1.0], [math.nan] * 3])
    medians = median_times(times)
    assert medians[:3].tolist() == [3.0, 1.5, math.inf] and math.isnan(medians[3])


def test_a_speedup_is_the_geometric_mean_and_a_miss_counts_as_its_budget():
    budgets = np.full((2, 3), 100.0)
    medians = np.array([[10.0, 20.0, 40.0], [5.0, 40.0, 10.0]])
    assert speedups(medians, budgets, 0) == pytest.approx([1.0, (2 * 0.5 * 4) ** (1 / 3)])
    missed = np.array([[10.0, 20.0, math.inf], [10.0, 20.0, 25.0]])
    assert speedups(missed, budgets, 0) == pytest.approx([1.0, 4 ** (1 / 3)])
    assert speedups(np.full((2, 3), math.inf), budgets, 0) == pytest.approx([1.0, 1.0])


def test_twice_as_fast_everywhere_is_settled_and_equal_optimizers_are_not():
    generator = np.random.default_rng(0)
    base = np.exp(generator.normal(5, 0.05, (8, 5)))
    again, half = (factor * base * np.exp(generator.normal(0, 0.05, (8, 5))) for factor in (1.0, 0.5))
    times = np.stack([base, again, half])
    found = standings(times, np.full((3, 8), 1e4), baseline=0, draws=1000)
    assert not settled(found[1].speedup, 1.0) and not settled(found[1].difference, 0.0)
    assert settled(found[2].speedup, 1.0) and found[2].speedup.value == pytest.approx(2, rel=0.05)
    assert found[2].speedup.low < 2 < found[2].speedup.high
    assert len(found[2].without) == 8 and min(found[2].without) == 1.0


def test_a_resample_keeps_each_optimizers_number_of_seeds():
    # Ten seeds of one, five of the other: a resample that had none of them would have no median.
    times = np.stack([np.arange(1.0, 11.0), np.r_[np.arange(1.0, 6.0), [math.nan] * 5]])[:, None, :]
    chosen, medians = bootstrap_medians(times, 500)
    assert chosen.shape == (500, 1) and medians.shape == (500, 2, 1)
    assert not np.isnan(medians).any()
    # The seeds that both have are drawn together.
    both = np.stack([times[1], times[1]])
    _, equal = bootstrap_medians(both, 500)
    assert (equal[:, 0] == equal[:, 1]).all()


def test_one_workload_has_no_score_without_it_and_no_training_is_an_error():
    times = np.ones((2, 1, 3))
    assert standings(times)[0].without == () and standings(times)[0].difference is None
    with pytest.raises(ValueError, match="a training on each workload"):
        standings(np.full((2, 1, 3), math.nan))
