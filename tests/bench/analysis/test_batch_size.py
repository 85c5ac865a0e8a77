"""The critical batch size, on trade-offs that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.analysis.batch_size import critical_batch

SIZES = (16, 32, 64, 128, 256, 512)
MIN_STEPS, CRITICAL = 200.0, 100.0


def needed(sizes: tuple[float, ...], spread: float = 0.0, seeds: int = 1, draw: int = 0):
    """Return sizes and steps of seeds that follow the trade-off, with errors of this relative spread."""
    every = np.repeat(np.asarray(sizes, dtype=float), seeds)
    steps = MIN_STEPS * (1 + CRITICAL / every)
    return every, steps * np.exp(spread * np.random.default_rng(draw).standard_normal(len(every)))


def test_steps_on_the_curve_give_it_back():
    found = critical_batch(*needed(SIZES))
    assert found.size.value == pytest.approx(CRITICAL, rel=2e-3)
    assert found.min_steps == pytest.approx(MIN_STEPS, rel=1e-3)
    assert found.min_samples == pytest.approx(CRITICAL * MIN_STEPS, rel=2e-3)
    assert found.size.low == pytest.approx(CRITICAL, rel=5e-3) == found.size.high


def test_at_the_critical_size_a_training_takes_twice_the_fewest_steps_and_twice_the_fewest_samples():
    found = critical_batch(*needed(SIZES))
    steps = found.steps(found.size.value)
    assert steps == pytest.approx(2 * found.min_steps)
    assert steps * found.size.value == pytest.approx(2 * found.min_samples)


def test_the_papers_equation_holds_at_every_size():
    found = critical_batch(*needed(SIZES))
    for size in SIZES:
        steps = found.steps(size)
        left = steps / found.min_steps - 1
        assert left == pytest.approx(1 / (steps * size / found.min_samples - 1))


def test_its_interval_holds_the_truth_about_as_often_as_it_says():
    intervals = [critical_batch(*needed(SIZES, 0.1, 3, draw)).size for draw in range(100)]
    held = sum(each.low <= CRITICAL <= each.high for each in intervals)
    assert held >= 88  # of 95 expected; fewer has a chance of under 1 in 200
    assert all(each.high < 3 * CRITICAL and each.low > CRITICAL / 3 for each in intervals)


def test_sizes_far_below_it_leave_it_open_above():
    sizes, steps = np.array([8.0, 16, 32]), np.array([8000.0, 4000, 2000])
    found = critical_batch(sizes, steps)
    assert math.isinf(found.size.value) and math.isinf(found.size.high) and found.size.low > 32
    assert found.min_steps == 0 and found.min_samples == pytest.approx(64000)


def test_sizes_far_above_it_leave_it_open_below():
    found = critical_batch([1024, 2048, 4096], [500, 501, 499])
    assert found.size.low == 0 and found.size.high < 1024
    assert found.min_steps == pytest.approx(500, rel=0.01)


def test_noise_that_hides_the_trade_off_leaves_both_sides_open():
    found = critical_batch([32, 64, 128], [500, 900, 400])
    assert (found.size.low, found.size.high) == (0, math.inf)


def test_two_sizes_are_too_few():
    assert critical_batch([32, 64, 64], [900, 500, 510]) is None


@pytest.mark.parametrize("steps", [0.0, -1.0, math.inf, math.nan])
def test_steps_that_are_none_are_refused(steps):
    with pytest.raises(ValueError, match="positive and finite"):
        critical_batch([16, 32, 64], [900, 500, steps])
