"""A model that corruption hurts more is found; of two equal models, none is."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.corruptions import CLEAN, Corrupted, corruption_losses
from bench.analysis.groups import FALSE_DISCOVERIES

ITEMS, PAIRS = 300, 100
HARDER = {CLEAN: 0.0, "noise-3": 0.4, "noise-5": 1.0, "blur-3": 0.3, "blur-5": 0.8}
"""By how much each corruption lowers the margin of every item."""


def measured(values: np.ndarray) -> Corrupted:
    return Corrupted(float(values.mean()), "item_right", values)


def two_models(random: np.random.Generator, worse: str = "") -> list[dict[str, Corrupted]]:
    """Return right answers of two models whose margins differ by noise; the second may be `worse` in one."""
    margin = random.normal(1.2, 0.9, ITEMS)
    found = []
    for number in range(2):
        own = margin + random.normal(0, 0.3, ITEMS)
        lowered = {name: loss + (number and name == worse) * 0.8 for name, loss in HARDER.items()}
        noise = {name: random.normal(0, 0.2, ITEMS) for name in HARDER}
        found.append(
            {name: measured((own - lowered[name] + noise[name] > 0).astype(float)) for name in HARDER}
        )
    return found


def test_at_most_five_percent_of_equal_pairs_have_a_flagged_corruption() -> None:
    random = np.random.default_rng(0)
    pairs = [two_models(random) for _ in range(PAIRS)]
    losses = [corruption_losses(*pair) for pair in pairs]
    assert all(len(each) == len(HARDER) - 1 for each in losses)
    flagged = sum(any(loss.flagged for loss in each.values()) for each in losses)
    assert flagged <= FALSE_DISCOVERIES * PAIRS


@pytest.mark.parametrize("worse", [name for name in HARDER if name != CLEAN])
def test_a_planted_weakness_is_flagged_and_nothing_else(worse: str) -> None:
    losses = corruption_losses(*two_models(np.random.default_rng(1), worse))
    assert [name for name, each in losses.items() if each.flagged] == [worse]
    found = losses[worse].loss
    assert 0 < found.low < found.value < found.high


def test_a_loss_is_the_share_kept_before_less_the_share_kept_after() -> None:
    random = np.random.default_rng(2)
    before, after = two_models(random, "blur-5")
    kept = [model["blur-5"].quality / model[CLEAN].quality for model in (before, after)]
    assert corruption_losses(before, after)["blur-5"].loss.value == pytest.approx(kept[0] - kept[1])
    same = corruption_losses(before, before)
    assert {each.loss.value for each in same.values()} == {0.0} and not any(e.flagged for e in same.values())


def test_likelihoods_and_qualities_on_resamples_are_compared_too() -> None:
    random = np.random.default_rng(3)
    nats = random.gamma(2.0, 0.5, ITEMS)

    def likely(values: np.ndarray) -> Corrupted:
        return Corrupted(float(np.exp(-values.mean())), "item_nats", values)

    before = {CLEAN: likely(nats), "typos": likely(nats + 0.1)}
    after = {CLEAN: likely(nats), "typos": likely(nats + 0.3)}
    found = corruption_losses(before, after)["typos"]
    assert found.flagged and found.loss.value == pytest.approx(np.exp(-0.1) - np.exp(-0.3))

    def drawn(quality: float) -> Corrupted:
        spread = quality + np.random.default_rng(4).normal(0, 0.01, 200)
        return Corrupted(quality, "resampled_quality", spread)

    fair = {CLEAN: drawn(0.9), "noise": drawn(0.8)}
    assert corruption_losses(fair, {CLEAN: drawn(0.9), "noise": drawn(0.5)})["noise"].flagged
    assert not corruption_losses(fair, fair)["noise"].flagged


@pytest.mark.parametrize(
    "spoiled",
    [
        Corrupted(0.5, "item_right", np.zeros(0)),
        Corrupted(0.5, "item_right", np.ones(7)),
        Corrupted(0.5, "item_right", np.full(ITEMS, np.nan)),
        Corrupted(0.0, "item_right", np.zeros(ITEMS)),
    ],
    ids=["nothing kept", "other items", "no numbers", "clean quality of 0"],
)
def test_what_cannot_be_compared_is_left_out(spoiled: Corrupted) -> None:
    before, after = two_models(np.random.default_rng(5))
    assert corruption_losses(before, {**after, CLEAN: spoiled}) == {}
    assert corruption_losses({}, after) == {}
