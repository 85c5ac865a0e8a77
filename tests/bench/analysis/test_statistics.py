"""Intervals hold what they claim, and are withheld where the samples cannot support them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.analysis.statistics import (
    effective_samples,
    launch_interval,
    mean_interval,
    order_statistic_ranks,
    paired_ratio_interval,
    pareto_front,
    ratio_interval,
    relative_spread,
    sample_quantile,
)


@pytest.mark.parametrize(("n", "ranks"), [(6, (0, 5)), (10, (1, 8)), (20, (5, 14))])
def test_order_statistic_ranks_of_the_median_are_the_tabled_ones(n, ranks):
    assert order_statistic_ranks(n, 0.5) == ranks


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_order_statistic_ranks_are_those_of_scipys_binomial(quantile):
    from scipy.stats import binom

    for n in (6, 36, 100, 368, 399, 1000, 5000, 20000):
        cumulative = binom.cdf(np.arange(n + 1), n, quantile)
        below, above = cumulative <= 0.025, cumulative >= 0.975
        if below[0] and not above[: n - 1].all() and np.argmax(above) < n:
            assert order_statistic_ranks(n, quantile) == (int(below.sum()) - 1, int(np.argmax(above)))
        else:
            with pytest.raises(ValueError, match="too few"):
                order_statistic_ranks(n, quantile)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 10, 40])
def test_students_intervals_are_those_of_scipys_t(n):
    from scipy.stats import t

    values = np.random.default_rng(4).normal(1, 0.1, n)
    found = mean_interval(values.tolist())
    expected = t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / np.sqrt(n))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


# Of quantiles with three decimals, or from an expansion, which were in scipy's place.
RECORDED = [
    (launch_interval, ([1.0, 1.1, 1.25],), 0.84197, 1.46860),
    (launch_interval, ([1.0, 1.1, 1.25, 1.05],), 0.94117, 1.27666),
    (mean_interval, ([1.0, 2.0, 4.0, 8.0, 16.0, 32.0],), -1.93445, 22.93445),
    (ratio_interval, ([1.0, 1.1, 1.25], [0.9, 1.0, 1.1]), 0.84641, 1.47073),
]


@pytest.mark.parametrize(("interval", "samples", "low", "high"), RECORDED)
def test_intervals_are_as_wide_as_earlier_versions_made_them(interval, samples, low, high):
    found = interval(*samples)
    assert found.high - found.low == pytest.approx(high - low, rel=1.2e-3)
    assert found.low == pytest.approx(low, abs=1.2e-3 * (high - low))


@pytest.mark.parametrize(("quantile", "least"), [(0.5, 6), (0.9, 36), (0.99, 368)])
def test_a_quantile_is_withheld_below_the_count_that_supports_it(quantile, least):
    samples = list(np.linspace(1, 2, least))
    assert sample_quantile(samples, quantile) is not None
    assert sample_quantile(samples[:-1], quantile) is None


@pytest.mark.parametrize("n", [3, 6, 10, 20])
def test_a_launch_interval_holds_the_true_median_95_times_in_100(n):
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        interval = launch_interval(np.exp(generator.normal(0.0, 0.1, n)).tolist())
        held += interval.low <= 1.0 <= interval.high
    assert held / 2000 >= 0.94


def test_fewer_than_six_launches_are_marked_preliminary_and_one_has_no_interval():
    launches = [1.0, 1.1, 1.2, 1.0, 1.1, 1.2]
    for n in range(2, 6):
        assert launch_interval(launches[:n]).preliminary and launch_interval(launches[:n]).low is not None, n
    assert not launch_interval(launches).preliminary
    assert launch_interval([1.0]).low is None


def test_a_ratio_of_equal_launches_holds_one_and_a_doubled_one_does_not():
    generator = np.random.default_rng(1)
    before = np.exp(generator.normal(0, 0.03, 6))
    same = ratio_interval(np.exp(generator.normal(0, 0.03, 6)).tolist(), before.tolist())
    doubled = ratio_interval((before * 2).tolist(), before.tolist())
    assert same.low <= 1 <= same.high
    assert doubled.low > 1.5 and doubled.value == pytest.approx(2)


@pytest.mark.parametrize(("m", "n"), [(4, 4), (6, 6), (6, 10), (10, 10), (20, 20)])
def test_a_ratios_interval_leaves_one_out_exactly_where_mann_and_whitneys_test_rejects(m, n):
    from scipy.stats import mannwhitneyu

    generator = np.random.default_rng(7)
    for shift in np.linspace(0, 2, 40):
        after, before = generator.normal(shift, 1, m), generator.normal(0, 1, n)
        found = ratio_interval(np.exp(after).tolist(), np.exp(before).tolist())
        rejected = mannwhitneyu(after, before, method="exact").pvalue <= 0.05
        assert (not found.low <= 1 <= found.high) == rejected
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("n", [6, 9, 20, 40])
def test_an_interval_of_pairs_leaves_one_out_exactly_where_wilcoxons_test_rejects(n):
    from scipy.stats import wilcoxon

    generator = np.random.default_rng(9)
    for shift in np.linspace(0, 1, 40):
        logs = generator.normal(shift, 1, n)
        found = paired_ratio_interval(np.exp(logs).tolist(), [1.0] * n)
        assert (not found.low <= 1 <= found.high) == (wilcoxon(logs, method="exact").pvalue <= 0.05)
        assert found.low <= found.value <= found.high


def test_pairs_cancel_what_both_of_them_had():
    generator = np.random.default_rng(2)
    machine = np.exp(generator.normal(0, 0.5, 40))
    before = machine * np.exp(generator.normal(0, 0.01, 40))
    found = paired_ratio_interval((1.02 * machine).tolist(), before.tolist())
    assert found.value == pytest.approx(1.02, abs=0.005) and found.relative_half_width < 0.005
    assert paired_ratio_interval([1.0] * 5, [1.0] * 5).low is None


def test_equal_launches_are_rarely_called_different_even_where_some_are_eight_times_as_slow():
    generator = np.random.default_rng(3)
    excluded = 0
    for _ in range(1000):
        pool = np.exp(generator.normal(0, 0.05, 20)) * generator.choice([1, 8], 20, p=[0.9, 0.1])
        found = ratio_interval(pool[:10].tolist(), pool[10:].tolist())
        excluded += not found.low <= 1 <= found.high
    assert 0.02 <= excluded / 1000 <= 0.08


def test_three_launches_against_three_are_too_few_for_ranks():
    found = ratio_interval([1.0, 1.1, 1.2], [1.0, 1.05, 1.2])
    assert found.preliminary and "Welch" in found.method and found.low <= 1 <= found.high


def test_launches_that_do_not_differ_at_all_have_a_ratio_without_width():
    found = ratio_interval([2.0] * 3, [1.0] * 3)
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2)) and found.preliminary


def test_the_pareto_front_is_what_nothing_else_beats_in_both():
    assert pareto_front([1, 2, 3, 3], [0.8, 0.9, 0.85, 0.95]) == [True, True, False, True]


def test_the_pareto_front_of_many_points_is_that_of_comparing_each_with_all():
    rng = np.random.default_rng(0)
    points = [tuple(point) for point in rng.integers(0, 12, (200, 2)).tolist()] + [
        (math.nan, 3),
        (3, -math.inf),
    ]
    costs, qualities = zip(*points, strict=True)

    def beaten(cost, quality):
        return any(c <= cost and q >= quality and (c < cost or q > quality) for c, q in points)

    assert pareto_front(costs, qualities) == [not beaten(*point) for point in points]


def test_equal_points_are_both_on_the_front():
    assert pareto_front([1, 1], [0.5, 0.5]) == [True, True]


def test_independent_samples_count_in_full_and_correlated_ones_for_what_they_tell():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=4000)
    assert effective_samples(noise) > 3000
    # An autoregression of 0.9 leaves (1 - 0.9) / (1 + 0.9) of the samples' worth.
    walk = np.zeros(40000)
    for turn in range(1, len(walk)):
        walk[turn] = 0.9 * walk[turn - 1] + rng.normal()
    assert effective_samples(walk) == pytest.approx(40000 * 0.1 / 1.9, rel=0.2)
    assert effective_samples([1.0, 1.0, 1.0]) == 3
    assert effective_samples([1.0]) == 1


def test_the_spread_is_a_normals_standard_deviation_and_outliers_do_not_move_it():
    rng = np.random.default_rng(0)
    samples = 10 + rng.normal(size=20000)
    assert relative_spread(samples) == pytest.approx(0.1, rel=0.03)
    assert relative_spread([*samples, *[1e6] * 200]) == pytest.approx(0.1, rel=0.05)
