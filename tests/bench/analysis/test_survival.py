"""Medians of times of which some were never seen."""

from __future__ import annotations

import math
import random

import pytest

from bench.analysis.survival import Outcome, kaplan_meier_median, median_outcome

# Weeks in remission, under 6-mercaptopurine and under placebo (Freireich et al. 1963).
TREATED = [6, 6, 6, 7, 10, 13, 16, 22, 23]
TREATED_CENSORED = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def reached(*needed: float, budget: float = 100.0) -> list[Outcome]:
    return [Outcome(each, budget) for each in needed]


def censored(*budgets: float) -> list[Outcome]:
    return [Outcome(math.inf, budget, censored=True) for budget in budgets]


def test_the_product_limit_estimate_has_the_published_medians():
    assert kaplan_meier_median([*reached(*TREATED), *censored(*TREATED_CENSORED)]) == 23
    assert kaplan_meier_median(reached(*PLACEBO)) == 8


def test_with_one_budget_for_all_it_is_the_plain_median():
    generator = random.Random(0)
    for _ in range(200):
        count = generator.randint(1, 9)
        needed = [generator.choice([generator.uniform(1, 99), math.inf]) for _ in range(count)]
        outcomes = [Outcome(each, 100.0, math.isinf(each)) for each in needed]
        assert kaplan_meier_median(outcomes) == pytest.approx(median_outcome(outcomes))


def test_a_median_is_infinite_where_half_or_more_never_got_there():
    never = censored(10.0, 10.0)
    assert median_outcome([*reached(1, 2, 3), *never]) == 3
    assert math.isinf(median_outcome([*reached(1, 2), *never]))
    assert math.isinf(kaplan_meier_median(never))


def test_a_training_that_diverged_still_counts_as_one_that_has_not_reached_its_target():
    others = reached(20.0, 30.0)
    diverged = [Outcome(math.inf, 5.0), Outcome(math.inf, 5.0)]
    assert math.isinf(kaplan_meier_median([*others, *diverged]))
    assert kaplan_meier_median([*others, *censored(5.0, 5.0)]) == 25.0


def test_without_trainings_there_is_no_median():
    for median in (median_outcome, kaplan_meier_median):
        with pytest.raises(ValueError, match=r"no"):
            median([])
