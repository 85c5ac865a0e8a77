"""How many paired seeds a difference takes."""

from __future__ import annotations

import math

import pytest

from bench.analysis.power import MAX_SEEDS, detectable, expected_power, power_of, seeds_needed

HALF_A_SPREAD = math.expm1(0.5)  # a log ratio of 0.5, with a spread of 1


def test_power_is_that_of_the_paired_t_test_by_gpower():
    # G*Power 3.1: matched pairs, dz 0.5, alpha 0.05: n = 34 has a power of 0.8078.
    assert float(power_of(HALF_A_SPREAD, 1.0, 34, resolution=0)) == pytest.approx(0.8078, abs=5e-4)
    assert float(power_of(HALF_A_SPREAD, 1.0, 33, resolution=0)) < 0.8


def test_a_spread_that_is_well_known_takes_the_textbooks_number_and_one_from_few_seeds_more():
    needed = [seeds_needed(HALF_A_SPREAD, 1.0, freedom, resolution=0) for freedom in (10**6, 20, 4, 2)]
    assert needed[0] in (34, 35)
    assert needed == sorted(needed) and needed[-1] > 2 * needed[0]


def test_the_number_is_the_least_that_has_the_power():
    for spread in (0.02, 0.08, 0.2):
        needed = seeds_needed(0.1, spread, 9)
        assert expected_power(0.1, spread, 9, needed) >= 0.8
        assert needed == 3 or expected_power(0.1, spread, 9, needed - 1) < 0.8


def test_more_tests_at_once_and_smaller_differences_take_more_seeds():
    assert seeds_needed(0.1, 0.08, 9, alpha=0.005) > seeds_needed(0.1, 0.08, 9)
    assert seeds_needed(0.05, 0.08, 9) > seeds_needed(0.1, 0.08, 9)


def test_seeds_that_do_not_differ_at_all_need_the_fewest_and_a_huge_spread_too_many():
    assert seeds_needed(0.1, 0.0, 2) == 3
    assert seeds_needed(0.05, 5.0, 9) is None and MAX_SEEDS == 1000


def test_a_difference_within_the_resolution_is_never_seen():
    assert float(power_of(0.009, 0.01, 1000)) == 0
    assert seeds_needed(0.009, 0.01, 9) is None


def test_the_detectable_difference_has_just_the_power():
    least = detectable(0.08, 10)
    assert float(power_of(least, 0.08, 10)) == pytest.approx(0.8, abs=1e-3)
    assert detectable(0.08, 20) < least < detectable(0.08, 5)
    assert math.isinf(detectable(50.0, 3)) and detectable(0.0, 3) == pytest.approx(0.01, abs=1e-3)
