"""The noise of launches and of runs: known series, and intervals that hold as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.analysis.noise import (
    UNKNOWN_SPREAD,
    Noise,
    between_runs,
    carry_over,
    difference,
    two_modes,
)
from tests.support.launch_kinds import LAUNCHES, series, share_that_holds


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_carry_over_is_estimated_from_many_short_series(correlation):
    chance = np.random.default_rng(0)
    found = carry_over(series(chance, 8, correlation) for _ in range(400))
    assert found == pytest.approx(correlation, abs=0.1)


def test_series_too_short_or_constant_tell_nothing_of_carry_over():
    assert carry_over([[1.0, 2.0, 1.0], [1.0] * 10]) == 0.0
    assert carry_over([]) == 0.0


@pytest.mark.parametrize("count", [6, 10, 20])
@pytest.mark.parametrize("kind", LAUNCHES)
def test_intervals_of_launches_hold(kind, count):
    # 0.93 and above, less what 500 trials may be off by; `tests.performance.interval_scores` has more.
    assert share_that_holds(kind, count, checks=500) >= 0.91


@pytest.mark.parametrize("spread", [0.002, 0.02])
def test_the_noise_between_runs_comes_out_of_their_history(spread):
    chance = np.random.default_rng(2)
    found = between_runs({f"{n}": np.exp(chance.normal(0, spread, 12)) for n in range(20)})
    assert np.median([each.spread for each in found.values()]) == pytest.approx(spread, rel=0.25)
    assert all(each.known for each in found.values())


def test_a_change_of_the_code_in_the_history_is_no_noise():
    chance = np.random.default_rng(3)
    values = np.exp(chance.normal(0, 0.005, 12))
    stepped = values * np.where(np.arange(12) < 6, 1.0, 1.5)
    others = {f"{n}": np.exp(chance.normal(0, 0.005, 12)) for n in range(5)}
    found = between_runs({"stepped": stepped, **others})
    assert found["stepped"].spread < 0.02


def test_slow_changes_of_the_code_are_no_noise():
    chance = np.random.default_rng(4)
    slow = {f"{n}": np.exp(0.02 * np.arange(12) + chance.normal(0, 0.01, 12)) for n in range(5)}
    assert np.median([each.spread for each in between_runs(slow).values()]) < 0.02


def test_without_history_a_guess_is_gone_by_and_it_is_left_bit_by_bit():
    assert between_runs({"a": []})["a"].spread == UNKNOWN_SPREAD
    assert between_runs({}) == {}
    steady = [
        between_runs({"a": [1.0, 1.001] * 5 if runs == 10 else [1.0] * runs})["a"] for runs in (1, 2, 4, 10)
    ]
    spreads = [each.spread for each in steady]
    assert spreads == sorted(spreads, reverse=True) and spreads[-1] < 0.002
    assert [each.known for each in steady] == [False, False, False, True]


def test_a_timing_with_a_history_of_its_own_is_moved_away_from_the_others():
    chance = np.random.default_rng(5)
    histories = {f"{n}": np.exp(chance.normal(0, 0.002, 15)) for n in range(10)}
    histories["noisy"] = np.exp(chance.normal(0, 0.03, 15))
    found = between_runs(histories)
    assert found["noisy"].spread > 4 * found["0"].spread


def test_a_difference_knows_both_runs():
    noise = Noise(0.01**2, 20, True)
    found = difference([1.1] * 6, [1.0] * 6, noise)
    assert found is not None
    assert found.ratio.value == pytest.approx(1.1)
    assert found.error == pytest.approx(0.01 * math.sqrt(2))
    assert found.p_value < 1e-5
    assert found.smallest_seen(0.05) == pytest.approx(math.expm1((2.086 + 0.860) * found.error), rel=1e-3)


def test_launches_that_are_further_apart_than_runs_decide():
    chance = np.random.default_rng(6)
    wide = np.exp(chance.normal(0, 0.1, 8))
    found = difference(wide, np.exp(chance.normal(0, 0.1, 8)), Noise(0.001**2, 20, True), 0.0)
    assert found is not None and found.error > 0.02


@pytest.mark.parametrize("count", [1, 3, 5])
def test_fewer_than_six_launches_have_no_difference(count):
    assert difference([1.0] * count, [1.0] * 10) is None


def test_two_modes_are_told_from_one():
    chance = np.random.default_rng(7)
    modes = two_modes([1.0, 1.3, 1.001, 1.301, 1.0, 1.302, 1.001, 1.3])
    assert modes is not None
    assert (modes.in_low, modes.in_high) == (4, 4) and modes.high / modes.low == pytest.approx(1.3, rel=0.01)
    for count in (6, 10, 20, 40):
        alone = sum(two_modes(np.exp(chance.normal(0, 0.03, count))) is not None for _ in range(300))
        assert alone / 300 <= 0.05
    assert two_modes([1.0, 1.0, 1.0, 1.001, 1.001, 1.001]) is None  # too near each other to matter
    assert two_modes([1.0, 2.0]) is None
