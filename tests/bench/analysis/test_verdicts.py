"""Optimizers are told apart only where their seeds say so, and then as often as was promised."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from bench.analysis.power import seeds_needed
from bench.analysis.statistics import ratio_interval
from bench.analysis.survival import Outcome
from bench.analysis.verdicts import (
    CommonError,
    common_error,
    holm,
    inverted,
    judge,
    paired_ratio,
    spread_between_seeds,
)

BUDGET = 10_000.0
NEVER = Outcome(math.inf, BUDGET, censored=True)
DIVERGED = Outcome(math.inf, BUDGET)


def outcomes(*needed: float) -> dict[int, Outcome]:
    """Return one optimizer's seeds; a training that needed more than the budget is censored."""
    known = [Outcome(each, BUDGET) if each <= BUDGET else NEVER for each in needed]
    return dict(enumerate(known))


def simulated(generator, seeds: int, spread: float, factor: float = 1.0) -> tuple[dict, dict]:
    """Return two optimizers that share each seed's luck and differ by `factor` and noise of their own."""
    luck = generator.normal(0, 0.1, seeds)
    noise = generator.normal(0, spread / math.sqrt(2), (2, seeds))
    return tuple(
        outcomes(*(1000 * each * np.exp(luck + own))) for each, own in zip((factor, 1.0), noise, strict=True)
    )


def verdict(first, second, **options):
    (judged,) = judge([paired_ratio(first, second, **options)])
    return judged.verdict


def test_holms_p_values_are_those_of_r():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9, 1.0]) == [1.0, 1.0, 1.0] and holm([]) == []


def test_without_a_resolution_it_is_students_paired_test_on_logs():
    from scipy.stats import ttest_rel

    first, second = simulated(np.random.default_rng(0), 7, 0.1, factor=1.1)
    logs = [np.log([each.needed for each in one.values()]) for one in (first, second)]
    expected = ttest_rel(*logs)
    low, high = expected.confidence_interval()
    found = paired_ratio(first, second, resolution=0)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.spread == pytest.approx(np.std(logs[0] - logs[1], ddof=1))


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_same_optimizer_under_two_names_is_told_apart_in_at_most_5_of_100(seeds):
    generator = np.random.default_rng(seeds)
    # One optimizer's trainings, of which some were censored; each comparison resamples two sets of seeds.
    pool = np.exp(generator.normal(math.log(1000), 0.08, 200))
    pool[:10] = math.inf
    told = [
        verdict(*(outcomes(*generator.choice(pool, seeds)) for _ in range(2))) != "can't tell"
        for _ in range(500)
    ]
    assert sum(told[:100]) <= 5 and sum(told) <= 25


def test_of_many_equal_optimizers_hardly_ever_is_any_pair_told_apart():
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(160):
        six = [outcomes(*np.exp(generator.normal(7, 0.08, 5))) for _ in range(6)]
        wrong += min(holm([paired_ratio(a, b).p for a, b in combinations(six, 2)])) <= 0.05
    assert wrong <= 8


@pytest.mark.parametrize(("pilot", "spread"), [(3, 0.05), (5, 0.08), (10, 0.12)])
def test_ten_percent_are_found_four_times_in_five_at_the_seeds_that_were_asked_for(pilot, spread):
    generator = np.random.default_rng(pilot)
    found = 0
    for _ in range(200):
        first, second = simulated(generator, pilot, spread, factor=1.1)
        ratio = paired_ratio(first, second)
        asked = seeds_needed(0.1, ratio.spread, pilot - 1)
        if asked is None or asked > pilot:
            more = simulated(generator, (asked or 1000) - pilot, spread, factor=1.1)
            for one, further in zip((first, second), more, strict=True):
                one |= {pilot + seed: outcome for seed, outcome in further.items()}
        found += verdict(first, second) == "slower"
    assert found >= 160


def test_what_cannot_be_told_says_what_would_have_been_seen_and_how_many_seeds_would_settle_it():
    first, second = simulated(np.random.default_rng(1), 5, 0.08)
    (judged,) = judge([paired_ratio(first, second)])
    assert judged.verdict == "can't tell"
    assert judged.more_seeds == seeds_needed(0.1, judged.ratio.spread, 4) - 5 > 0
    assert 0.05 < judged.detectable < 0.5


def test_a_verdict_on_many_pairs_takes_more_seeds_than_one_on_a_single_pair():
    generator = np.random.default_rng(2)
    pairs = [paired_ratio(*simulated(generator, 5, 0.08)) for _ in range(10)]
    (alone,) = judge(pairs[:1])
    together = judge(pairs)[0]
    assert alone.verdict == together.verdict == "can't tell"
    assert together.more_seeds > alone.more_seeds and together.detectable > alone.detectable


def test_clear_differences_are_told_and_the_opposite_question_has_the_opposite_answer():
    first, second = outcomes(800, 820, 790, 805, 810), outcomes(1000, 1030, 990, 1001, 1020)
    (judged,) = judge([paired_ratio(first, second)])
    assert judged.verdict == "faster" and judged.ratio.value == pytest.approx(0.8, abs=0.01)
    other = inverted(judged)
    assert other.verdict == "slower" and other.ratio.low == pytest.approx(1 / judged.ratio.high)
    assert other.ratio.value == pytest.approx(paired_ratio(second, first).value)
    assert inverted(other).ratio.low == pytest.approx(judged.ratio.low)


def test_pairs_cancel_what_a_seed_does_to_both():
    luck = np.exp(np.random.default_rng(3).normal(0, 0.5, 5))
    first = outcomes(*(900 * luck * [1.0, 1.01, 0.99, 1.0, 1.0]))
    assert verdict(first, outcomes(*(1000 * luck))) == "faster"


def test_an_optimizer_that_never_gets_there_is_slower_without_an_upper_bound():
    second = outcomes(1000, 1100, 900, 1050, 980)
    for never in (NEVER, DIVERGED):
        ratio = paired_ratio(dict.fromkeys(second, never), second)
        assert math.isinf(ratio.high) and 8 < ratio.low < ratio.value < 11 and ratio.unreached == 5
        assert verdict(dict.fromkeys(second, never), second) == "slower"
        assert verdict(second, dict.fromkeys(second, never)) == "faster"


def test_an_optimizer_that_once_failed_where_the_other_did_not_is_never_called_faster():
    first, second = outcomes(*[500.0] * 9, math.inf), outcomes(*[9000.0 + seed for seed in range(10)])
    assert math.isinf(paired_ratio(first, second).high)
    assert verdict(first, second) == "can't tell"


def test_where_neither_ever_gets_there_nothing_is_told():
    never = dict.fromkeys(range(5), NEVER)
    ratio = paired_ratio(never, never, common=CommonError(math.log(2), 0.001, 9))
    assert ratio.low is None and ratio.p is None and ratio.unreached == 5
    (judged,) = judge([ratio])
    assert judged.verdict == "can't tell"


def test_a_training_counts_up_to_the_smaller_budget():
    first = {seed: Outcome(1500.0, 2000.0) for seed in range(5)}
    second = {seed: Outcome(math.inf, 1000.0, censored=True) for seed in range(5)}
    ratio = paired_ratio(first, second)
    assert ratio.value == 1 and ratio.low == 0
    assert verdict(first, second) == "can't tell"


def at_first(step: float) -> Outcome:
    return Outcome(step, BUDGET, at_most=True, resolution=1.0)


def test_what_was_there_at_the_first_look_is_not_told_apart_by_when_that_was():
    # The same optimizer at batch 32 and 64, on a target so easy that the first evaluation meets it.
    small, large = dict.fromkeys(range(5), at_first(5.0)), dict.fromkeys(range(5), at_first(3.0))
    for first, second in ((small, large), (large, small), (small, small)):
        (judged,) = judge([paired_ratio(first, second)])
        assert judged.verdict == "can't tell" and judged.ratio.p is None and judged.ratio.low is None
        assert judged.ratio.value == 1 and judged.ratio.at_first == 5
        assert judged.detectable is None and judged.more_seeds is None  # not 0, which is "enough seeds"


def test_what_was_there_at_the_first_look_may_be_faster_and_never_is_slower():
    early, late = dict.fromkeys(range(5), at_first(100.0)), outcomes(200, 210, 190, 205, 195)
    ratio = paired_ratio(early, late)
    assert ratio.low == 0 and ratio.high < 0.6
    assert verdict(early, late) == "faster" and verdict(late, early) == "slower"
    # It took at most 100 steps, the other 50 of a finer grid: nobody knows which was first.
    finer = outcomes(50, 52, 48, 51, 49)
    assert verdict(early, finer) == verdict(finer, early) == "can't tell"


def seen_from(needed: float) -> Outcome:
    """Return a training that is evaluated for the first time after 90 steps, and often from then on."""
    return at_first(90.0) if needed <= 90 else Outcome(needed, BUDGET)


def test_equal_optimizers_that_are_often_there_at_the_first_look_are_hardly_ever_told_apart():
    generator, told = np.random.default_rng(8), 0
    for _ in range(500):
        needed = np.exp(generator.normal(math.log(100), 0.2, (2, 5)))
        first, second = (dict(enumerate(map(seen_from, one.tolist()))) for one in needed)
        told += verdict(first, second) != "can't tell"
    assert told <= 25


def test_a_ratio_is_known_no_better_than_the_evaluations_that_it_lies_between():
    def seeds(needed: float, resolution: float) -> dict[int, Outcome]:
        return {seed: Outcome(needed + seed, BUDGET, resolution=resolution) for seed in range(5)}

    assert verdict(seeds(108, 0.1), seeds(100, 0.1)) == "can't tell"
    assert paired_ratio(seeds(108, 0.1), seeds(100, 0.02)).resolution == 0.1
    assert verdict(seeds(108, 0.01), seeds(100, 0.01)) == "slower"


def test_nobody_says_how_many_seeds_would_tell_what_was_never_seen():
    never, known = dict.fromkeys(range(5), NEVER), outcomes(1000, 1010, 990, 1005, 995)
    for first, second in ((never, never), (known | {4: NEVER}, known)):
        (judged,) = judge([paired_ratio(first, second)])
        assert judged.verdict == "can't tell"
        assert judged.detectable is None and judged.more_seeds is None
    (judged,) = judge([paired_ratio(known, known)])
    assert judged.more_seeds == 0


def test_a_slower_step_with_the_same_curve_is_behind_on_time_and_tied_on_steps():
    curve = outcomes(1000, 1040, 970, 1010, 990)
    launches = np.exp(np.random.default_rng(4).normal(0, 0.01, (2, 10)))
    step = common_error(ratio_interval((1.1 * launches[0]).tolist(), launches[1].tolist()))
    on_steps, on_time = paired_ratio(curve, curve), paired_ratio(curve, curve, common=step)
    assert [each.verdict for each in judge([on_steps])] == ["can't tell"]
    assert (on_steps.low, on_steps.high) == pytest.approx((1 / 1.01, 1.01))
    (judged,) = judge([on_time])
    assert judged.verdict == "slower" and judged.ratio.value == pytest.approx(1.1, rel=0.02)
    assert judged.more_seeds is None  # seeds do not narrow the time of a step


def test_step_times_that_are_not_known_well_tell_nothing():
    curve = outcomes(1000, 1040, 970)
    noisy = common_error(ratio_interval([1.0, 1.4, 1.2], [1.0, 0.9, 1.3]))
    assert verdict(curve, curve, common=noisy) == "can't tell"
    unknown = common_error(ratio_interval([2.0], [1.0]))
    assert paired_ratio(curve, curve, common=unknown).low is None


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_interval(seeds):
    first, second = outcomes(*[500.0] * seeds), outcomes(*[1000.0] * seeds)
    ratio = paired_ratio(first, second)
    assert ratio.value == pytest.approx(0.5) and ratio.low is None and ratio.p is None
    assert verdict(first, second) == "can't tell"


def test_only_seeds_that_both_have_are_compared():
    first, second = {0: Outcome(100.0, 1e4), 5: Outcome(9.0, 1e4)}, {0: Outcome(200.0, 1e4)}
    assert paired_ratio(first, second).seeds == 1
    assert paired_ratio(first, second).value == pytest.approx(0.5)
    assert paired_ratio({1: NEVER}, {2: NEVER}) is None


@pytest.mark.parametrize("needed", [math.nan, 0.0, -1.0])
def test_a_number_that_is_none_is_refused(needed):
    with pytest.raises(ValueError, match="must be positive"):
        paired_ratio({0: Outcome(needed, 1e4)}, {0: Outcome(1.0, 1e4)})


def test_one_that_never_got_there_needs_a_budget():
    with pytest.raises(ValueError, match="finite budget"):
        paired_ratio({0: Outcome(math.inf, math.inf)}, {0: Outcome(1.0, math.inf)})


def test_the_spread_between_seeds_is_pooled_within_optimizers():
    generator = np.random.default_rng(6)
    groups = [outcomes(*np.exp(generator.normal(centre, 0.05, 50))).values() for centre in (5.0, 6.0, 7.0)]
    assert spread_between_seeds(groups) == pytest.approx(0.05, rel=0.15)
    assert spread_between_seeds([[NEVER, NEVER], [Outcome(1.0, 2.0)]]) is None
