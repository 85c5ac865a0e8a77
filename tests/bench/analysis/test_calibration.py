"""Whether confidence is right: known errors, and intervals that hold them."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.calibration import Answers, calibration, calibration_error, mean_over_items


def answers(random: np.random.Generator, items: int, over: float = 0.0) -> Answers:
    """Return answers that are right as often as their confidence says, less `over`."""
    confidence = random.uniform(0.5 + over, 1.0, items)
    right = (random.random(items) < confidence - over).astype(float)
    squared = (1 - confidence) ** 2 * 2 * right + confidence**2 * 2 * (1 - right)
    nats = -np.log(np.where(right == 1, confidence, 1 - confidence + 1e-3))
    return Answers(np.arange(items), confidence, right, squared, nats)


def test_confidence_that_is_too_high_by_a_tenth_has_an_error_of_a_tenth() -> None:
    sure = answers(np.random.default_rng(0), 100_000, over=0.1)
    assert calibration_error(sure.confidence, sure.right) == pytest.approx(0.1, abs=0.01)
    just = answers(np.random.default_rng(1), 100_000)
    assert calibration_error(just.confidence, just.right) < 0.01


def test_bins_have_equal_mass() -> None:
    """Of 30 answers each bin has two, however their confidences lie."""
    confidence = np.concatenate([np.linspace(0.9, 0.91, 28), [0.2, 0.3]])
    right = np.ones(30)
    right[-2:] = 0
    expected = (0.5 + sum(1 - np.linspace(0.9, 0.91, 28))) / 30
    assert calibration_error(confidence, right) == pytest.approx(expected)


@pytest.mark.parametrize("wrong_first", [True, False])
def test_answers_of_one_confidence_have_no_order(wrong_first: bool) -> None:
    """Of 300 answers that are 90 % sure 270 are right, wherever those stand: there is no error."""
    right = np.ones(300)
    right[:30] = 0
    ordered = right if wrong_first else right[::-1]
    assert calibration_error(np.full(300, 0.9), ordered) == pytest.approx(0)
    # And twenty that are surest, all of them wrong: they are in the last bin, and nothing else is off.
    sure = np.concatenate([np.full(300, 0.9), np.full(20, 1.0)])
    assert calibration_error(sure, np.concatenate([ordered, np.zeros(20)])) == pytest.approx(20 / 320)
    items, other = np.arange(300), np.full(300, 0.1)
    found = calibration(Answers(items, np.full(300, 0.9), ordered, other, other))["ece"]
    assert found.value == pytest.approx(0) and found.high is not None and found.high < 0.05


def test_an_answer_with_weight_two_counts_as_two() -> None:
    random = np.random.default_rng(2)
    one = answers(random, 3000, over=0.05)
    twice = np.tile(one.confidence, 2), np.tile(one.right, 2)
    weighted = calibration_error(one.confidence, one.right, np.full(3000, 2.0))
    assert weighted == pytest.approx(calibration_error(*twice), abs=1e-3)


def test_brier_score_and_likelihood_are_means_with_intervals() -> None:
    random = np.random.default_rng(3)
    large = answers(np.random.default_rng(9), 200_000, over=0.1)
    held = {"brier": 0, "nll": 0}
    for _ in range(100):
        one = answers(random, 500, over=0.1)
        found = calibration(one)
        for name, true in (("brier", large.squared.mean()), ("nll", large.nats.mean())):
            assert found[name].low <= found[name].value <= found[name].high
            held[name] += found[name].low <= true <= found[name].high
    assert min(held.values()) >= 89


def test_all_answers_of_an_item_are_drawn_together() -> None:
    """A thousand answers of four items say no more than four items do."""
    random = np.random.default_rng(4)
    item = np.repeat(np.arange(4), 250)
    nats = np.repeat(random.normal(2, 1, 4), 250)
    right = np.ones(1000)
    found = calibration(Answers(item, right, right, nats, nats))["nll"]
    assert found.high - found.low > 0.5


def test_a_single_item_has_no_interval() -> None:
    one = np.ones(1)
    found = calibration(Answers(np.zeros(1, dtype=np.int64), one, one, one, one))
    assert (found["ece"].value, found["ece"].low) == (0, None)
    assert mean_over_items(one).low is None
