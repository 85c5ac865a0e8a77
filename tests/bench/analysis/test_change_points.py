"""Shifts and drifts are found where they are, on published series too; chance alone seldom looks like one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.analysis.change_points import MIN_RUNS, exact_changes, find_changes

pytest.importorskip("ruptures")

DATA = Path(__file__).parents[2] / "data"
RUNS, SERIES = 30, 400


def shares(level: np.ndarray, noise: float, holds: Callable[[list, np.ndarray], bool]) -> float:
    """Return the share of noisy series around a level of which something holds."""
    generator = np.random.default_rng(7)
    found = []
    for _ in range(SERIES):
        values = level * np.exp(noise * generator.standard_normal(len(level)))
        found.append(holds(find_changes(values), values))
    return float(np.mean(found))


def level_with_shift(place: int, size: float, runs: int = RUNS) -> np.ndarray:
    return np.where(np.arange(runs) < place, 1.0, 1 + size)


def near(place: int) -> Callable[[list, np.ndarray], bool]:
    return lambda changes, _: any(abs(change.after - place) <= 1 for change in changes)


def anything(changes: list, _: np.ndarray) -> bool:
    return bool(changes)


@pytest.mark.parametrize("runs", [8, 12, 30, 60])
def test_a_flat_series_gives_an_alarm_in_at_most_5_percent(runs):
    assert shares(np.ones(runs), 0.015, anything) <= 0.05


def test_wild_runs_do_not_make_alarms_more_frequent():
    generator = np.random.default_rng(3)
    found = [bool(find_changes(np.exp(0.01 * generator.standard_t(2, RUNS)))) for _ in range(SERIES)]
    assert np.mean(found) <= 0.05


@pytest.mark.parametrize("place", [6, 15, 25])
def test_a_shift_of_5_percent_in_noise_of_1_5_percent_is_found_within_one_run_of_its_place(place):
    assert shares(level_with_shift(place, 0.05), 0.015, near(place)) >= 0.9


def test_beside_a_shift_there_is_seldom_another_change():
    assert shares(level_with_shift(15, 0.05), 0.015, lambda changes, _: len(changes) > 1) <= 0.05


@pytest.mark.parametrize("runs_before", [0, 15])
def test_ten_commits_of_1_percent_in_noise_of_1_percent_are_found(runs_before):
    level = 1.01 ** np.concatenate([np.zeros(runs_before), np.arange(11)])
    assert shares(level, 0.01, anything) >= 0.9

    def is_a_drift_of_about_10_percent(changes, _):
        return len(changes) == 1 and changes[0].kind == "drift" and 1.06 < changes[0].ratio.value < 1.15

    assert shares(level, 0.01, is_a_drift_of_about_10_percent) >= 0.8


def test_an_excursion_has_a_beginning_and_an_end():
    level = np.ones(RUNS)
    level[12:18] = 1.06
    assert shares(level, 0.01, lambda changes, _: [c.after for c in changes] == [12, 18]) >= 0.8


def test_the_interval_of_a_shift_holds_its_size():
    def holds(changes, _):
        if len(changes) != 1 or changes[0].kind != "shift":
            return True
        ratio = changes[0].ratio
        return ratio.low <= 1.1 <= ratio.high

    assert shares(level_with_shift(15, 0.10), 0.015, holds) >= 0.92


def test_the_nile_falls_after_1898():
    nile = pd.read_csv(DATA / "nile.csv")
    (change,) = find_changes(nile["volume"].to_list())
    assert change.kind == "shift"
    assert (nile["year"][change.before], nile["year"][change.after]) == (1898, 1899)
    assert 0.70 < change.ratio.low < 0.774 < change.ratio.high < 0.85  # means 1097.75 and 849.97
    assert change.p_value < 0.001


def test_centralia_loses_its_inhabitants_between_the_censuses_of_1980_and_1990():
    town = pd.read_csv(DATA / "centralia.csv")
    (change,) = find_changes(town["population"].to_list())
    assert town["year"][change.before] <= 1980 and town["year"][change.after] >= 1990
    assert change.ratio.high < 1


def test_the_same_values_give_the_same_changes():
    values = level_with_shift(15, 0.05) * np.exp(0.015 * np.random.default_rng(1).standard_normal(RUNS))
    assert find_changes(values) == find_changes(values) == find_changes(list(values))


def test_units_do_not_matter():
    values = level_with_shift(15, 0.05) * np.exp(0.015 * np.random.default_rng(1).standard_normal(RUNS))
    places = [(change.before, change.after) for change in find_changes(values)]
    assert places == [(change.before, change.after) for change in find_changes(1e6 * values)] == [(14, 15)]


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0], [2.0] * 20])
def test_few_or_equal_values_have_no_changes(values):
    assert find_changes(values) == []


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_a_value_that_has_no_logarithm_is_refused(wrong):
    with pytest.raises(ValueError, match="positive"):
        find_changes([1.0] * 10 + [wrong])


def test_values_with_few_distinct_ones_are_judged_too():
    (change,) = find_changes([5.0] * 12 + [6.0] * 12)
    assert (change.before, change.after) == (11, 12) and change.ratio.value == pytest.approx(1.2)


def test_one_wild_run_is_no_change():
    values = np.exp(0.01 * np.random.default_rng(5).standard_normal(RUNS))
    values[17] *= 3
    assert find_changes(values) == []
    assert MIN_RUNS > 2


def test_exact_metrics_change_wherever_they_differ():
    changes = exact_changes([100.0, 100.0, 110.0, 110.0, 99.0])
    assert [(change.before, change.after) for change in changes] == [(1, 2), (3, 4)]
    assert [change.ratio.value for change in changes] == pytest.approx([1.1, 0.9])
    assert exact_changes([1.0, 1.0 + 1e-12]) == []
