"""Two models on the same items: intervals hold the true loss, and chance is not taken for a loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from bench.analysis.paired import (
    Loss,
    false_discovery_rates,
    loss_of_means,
    loss_of_resamples,
    loss_of_shares,
    loss_of_statistic,
    losses_of_shares,
    mcnemar,
    newcombe,
)


def flipped(
    random: np.random.Generator, items: int, lost: float, won: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return right answers before and after, of which shares are lost and won."""
    before = (random.random(items) < 0.8).astype(float)
    moved = random.random(items)
    after = np.where(before == 1, moved >= lost, moved < won).astype(float)
    return before, after


def test_mcnemars_test_counts_only_answers_that_flipped() -> None:
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1
    assert mcnemar(300, 250) == pytest.approx(binomtest(300, 550).pvalue)


def test_losses_and_wins_that_change_places_change_the_sign_alone() -> None:
    value, low, high = newcombe(70, 12, 3, 100)
    assert value == pytest.approx(0.09) and low < value < high
    assert newcombe(70, 3, 12, 100) == pytest.approx((-value, -high, -low))


@pytest.mark.parametrize("counts", [(0, 0, 0, 20), (20, 0, 0, 20), (0, 20, 0, 20), (0, 0, 1, 1)])
def test_an_interval_of_proportions_has_its_value_within_it_at_the_ends_too(counts) -> None:
    value, low, high = newcombe(*counts)
    assert -1 <= low <= value <= high <= 1


@pytest.mark.parametrize(("lost", "won"), [(0.02, 0.02), (0.10, 0.05), (0.0, 0.0)])
def test_newcombes_interval_holds_the_true_loss(lost: float, won: float) -> None:
    random = np.random.default_rng(1)
    true = 0.8 * lost - 0.2 * won
    found = [loss_of_shares(*flipped(random, 300, lost, won)) for _ in range(400)]
    held = sum(each.low <= true <= each.high for each in found)
    assert held >= 0.93 * len(found)


def test_a_loss_is_before_less_after_and_counts_the_flips() -> None:
    before, after = np.array([1.0, 1, 1, 0, 0, 1]), np.array([1.0, 0, 0, 1, 0, 1])
    found = loss_of_shares(before, after)
    assert found.value == pytest.approx(1 / 6)
    assert (found.lost, found.won, found.items) == (2, 1, 6)


def test_shares_of_several_answers_are_compared_by_their_means() -> None:
    before = np.array([0.5, 0.75, 1.0, 0.25] * 10)
    found = loss_of_shares(before, before - 0.25)
    assert found.value == pytest.approx(0.25) and found.p == 0 and found.lost is None
    assert loss_of_means(before, before).p == 1


def test_a_statistic_of_items_is_compared_on_the_same_items() -> None:
    """Each item loses as much: items differ much, their differences do not."""
    nats = np.random.default_rng(0).normal(2.0, 0.5, 200)
    found = loss_of_statistic(nats, nats + 0.1, lambda values: np.exp(-values.mean(axis=-1)))
    assert found.value == pytest.approx(math.exp(-nats.mean()) * (1 - math.exp(-0.1)))
    assert found.low > 0 and found.high - found.low < 0.1 * found.value * 5 and found.p < 1e-6


def test_the_same_resamples_of_two_models_are_compared() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 100)
    found = loss_of_resamples(0.9, 0.88, (0.9 + noise, 0.88 + noise[:80]))
    assert found.value == pytest.approx(0.02) and found.low == pytest.approx(0.02)
    assert found.high == pytest.approx(0.02) and "80 resamples" in found.method


def test_pairs_compared_at_once_are_those_compared_one_by_one() -> None:
    random = np.random.default_rng(3)
    whole = [flipped(random, 40, 0.1, 0.05) for _ in range(4)]
    shared = [(before - 0.1, after) for before, after in whole]
    pairs = [*whole, *shared, (whole[0][0], whole[0][0])]
    before, after = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
    assert losses_of_shares(before, after) == [loss_of_shares(*pair) for pair in pairs]


def test_equal_models_lose_nothing() -> None:
    same = np.linspace(0, 1, 50)
    for found in (loss_of_shares(same, same), loss_of_statistic(same, same, lambda v: v.mean(axis=-1))):
        assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


Both = tuple[np.ndarray, np.ndarray]


def answers(random: np.random.Generator) -> Both:
    """Return right answers of two models that are as good: what one loses the other wins as often."""
    margin = random.normal(0.8, 1.0, 400)
    return tuple((margin + random.normal(0, 0.4, 400) > 0).astype(float) for _ in range(2))


def shares(random: np.random.Generator) -> Both:
    """Return shares of right answers of items, of 20 answers each, by two models that are as good."""
    easy = random.beta(6, 2, 200)
    return tuple(random.binomial(20, easy) / 20 for _ in range(2))


def cross_entropies(random: np.random.Generator) -> Both:
    item = random.gamma(2.0, 0.8, 100)
    return tuple(item + random.normal(0, 0.3, 100) for _ in range(2))


def likelihood(values: np.ndarray) -> np.ndarray:
    return np.exp(-values.mean(axis=-1))


def loss_of_fit(random: np.random.Generator) -> Loss:
    """Compare R² of two models that are as good, by that of the same 200 resamples of the items."""
    target = random.normal(0, 1.0, 150)
    drawn = np.random.default_rng(0).integers(0, 150, (200, 150))

    def fit(own: np.ndarray, rows: np.ndarray) -> np.ndarray:
        error = ((own - target)[rows] ** 2).mean(axis=-1)
        return 1 - error / target[rows].var(axis=-1)

    models = [target + random.normal(0, 0.6, 150) for _ in range(2)]
    values = [float(fit(own, np.arange(150))) for own in models]
    return loss_of_resamples(*values, tuple(fit(own, drawn) for own in models))


PAIRED = {
    "right answers: McNemar's test": lambda random: loss_of_shares(*answers(random)),
    "shares of answers: Student's test": lambda random: loss_of_shares(*shares(random)),
    "likelihood: bootstrap": lambda random: loss_of_statistic(*cross_entropies(random), likelihood),
    "R²: the same resamples": loss_of_fit,
}
EQUAL_PAIRS = 300


@pytest.mark.parametrize("name", PAIRED)
def test_at_most_five_percent_of_equal_pairs_lose_more_than_chance_explains(name: str) -> None:
    """As far as so many pairs can tell: a test of exactly 5 % passes 95 times in 100."""
    random = np.random.default_rng(7)
    found = [PAIRED[name](random) for _ in range(EQUAL_PAIRS)]
    assert any(each.value for each in found)
    flagged = sum(each.p <= 0.05 for each in found)
    assert binomtest(flagged, EQUAL_PAIRS, 0.05, "greater").pvalue > 0.05, flagged


def test_a_planted_loss_is_found_by_each_test() -> None:
    random = np.random.default_rng(8)
    before, after = answers(random)
    spoiled = after * (random.random(len(after)) > 0.1)
    nats, shared = cross_entropies(random), shares(random)
    for found in (
        loss_of_shares(before, spoiled),
        loss_of_shares(shared[0], shared[1] - 0.1),
        loss_of_statistic(nats[0], nats[1] + 0.2, likelihood),
    ):
        assert found.low > 0 and found.p < 0.01


def test_false_discovery_rates_are_those_of_benjamini_and_hochberg() -> None:
    assert false_discovery_rates([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert false_discovery_rates([]) == []
