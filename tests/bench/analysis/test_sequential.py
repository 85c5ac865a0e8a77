"""Looks err together as rarely as they say, whatever the noise, and published bounds come out."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from bench.analysis.sequential import (
    FIRST_LOOK,
    interval_of_blocks,
    level_of_a_look,
    looks,
    smallest_seen,
)


@pytest.mark.parametrize(
    ("count", "level"), [(2, 0.0294), (3, 0.0221), (4, 0.0182), (5, 0.0158), (10, 0.0106)]
)
def test_pococks_levels_come_out(count, level):
    """Pocock 1977, table 1: nominal significance levels at 5 % over looks that are evenly spaced."""
    evenly = tuple(range(20, 20 * count + 1, 20))
    assert level_of_a_look(evenly, 0.05) == pytest.approx(level, abs=1e-4)


def test_one_look_has_the_whole_level():
    assert level_of_a_look((20,), 0.02) == 0.02
    assert level_of_a_look((), 0.02) == 0.02


@pytest.mark.parametrize("most", [6, 7, 20, 100, 400])
def test_looks_begin_at_six_end_at_the_last_block_and_lie_ever_further_apart(most):
    found = looks(most)
    assert found[0] == FIRST_LOOK and found[-1] == most
    assert all(later > earlier for earlier, later in pairwise(found))
    assert len(found) <= 2 + math.log(most / FIRST_LOOK, 1.35)


def test_too_few_blocks_have_no_look():
    assert looks(FIRST_LOOK - 1) == ()


NOISES = {
    "normal": lambda chance, n: chance.normal(0, 0.03, n),
    "heavy tails": lambda chance, n: 0.02 * chance.standard_t(2.5, n),
    "two modes": lambda chance, n: (
        chance.normal(0, 0.005, n) + 0.1 * (chance.random(n) < 0.3) - 0.1 * (chance.random(n) < 0.3)
    ),
}


@pytest.mark.parametrize("noise", NOISES)
def test_however_often_one_looks_the_truth_is_left_out_as_rarely_as_said(noise):
    chance, plan = np.random.default_rng(0), looks(40)
    level = level_of_a_look(plan, 0.1)
    missed = 0
    for _ in range(400):
        blocks = 0.05 + NOISES[noise](chance, plan[-1])
        found = [interval_of_blocks(blocks[:count], level) for count in plan]
        missed += any(not each.low <= math.exp(0.05) <= each.high for each in found)
    assert missed / 400 <= 0.14  # 0.1, and what 400 trials may be off by


def test_below_six_blocks_there_is_no_interval():
    found = interval_of_blocks([0.1] * 5, 0.05)
    assert (found.low, found.high) == (None, None)
    assert smallest_seen([0.1] * 5, 0.05) == math.inf
    with pytest.raises(ValueError, match="no blocks"):
        interval_of_blocks([], 0.05)


def test_few_blocks_at_a_strict_level_go_by_student_and_more_by_ranks():
    values = np.random.default_rng(1).normal(0, 0.02, 30)
    assert "Student" in interval_of_blocks(values[:6], 0.001).method
    assert "Wilcoxon" in interval_of_blocks(values, 0.001).method


def test_what_would_have_been_seen_is_seen_in_four_of_five():
    chance, seen, found = np.random.default_rng(2), [], 0
    for _ in range(300):
        values = chance.normal(0, 0.03, 20)
        seen.append(smallest_seen(values, 0.02))
    change = float(np.median(seen))
    for _ in range(300):
        values = math.log1p(change) + chance.normal(0, 0.03, 20)
        found += interval_of_blocks(values, 0.02).low > 1
    assert 0.7 <= found / 300 <= 0.9
