"""A class that was degraded is found; of two equal models, none is."""

from __future__ import annotations

import numpy as np
import pytest

from bench.analysis.groups import FALSE_DISCOVERIES, Column, gaps_between_groups, group_losses, worst_group

ITEMS, CLASSES = 2000, 10
PAIRS = 200


def planted(random: np.random.Generator, degraded: int | None, noise: float = 0.4) -> tuple[np.ndarray, ...]:
    """Return right answers of two models whose scores differ by noise, and the class of each item.

    Every item has its own margin; scores of a degraded class lose a whole unit.
    """
    classes = random.integers(0, CLASSES, ITEMS)
    margin = random.normal(1.0, 0.9, ITEMS)
    before, after = (margin + random.normal(0, noise, ITEMS) for _ in range(2))
    if degraded is not None:
        after = after - 1.0 * (classes == degraded)
    return (before > 0).astype(float), (after > 0).astype(float), classes.astype(float)


def columns(classes: np.ndarray, random: np.random.Generator) -> list[Column]:
    """Return the classes, and a column that has nothing to do with the answers."""
    names = tuple(f"class {number}" for number in range(CLASSES))
    seasons = random.integers(0, 4, ITEMS).astype(float)
    of_year = ("autumn", "spring", "summer", "winter")
    return [Column("class", classes, names), Column("season", seasons, of_year)]


def test_at_most_five_percent_of_equal_pairs_have_a_flagged_group() -> None:
    random = np.random.default_rng(0)
    flagged = 0
    for _ in range(PAIRS):
        before, after, classes = planted(random, None)
        assert (before != after).any()
        flagged += any(group.flagged for group in group_losses(before, after, columns(classes, random)))
    assert flagged <= FALSE_DISCOVERIES * PAIRS


@pytest.mark.parametrize("degraded", range(CLASSES))
def test_a_class_that_was_degraded_is_the_worst_and_flagged(degraded: int) -> None:
    random = np.random.default_rng(100 + degraded)
    before, after, classes = planted(random, degraded)
    found = group_losses(before, after, columns(classes, random))
    worst = worst_group(found)
    assert worst is not None and worst.flagged and worst.group == f"class {degraded}"
    assert worst.loss.value > 0.15 and worst.before - worst.after == pytest.approx(worst.loss.value)


def test_a_group_that_gains_is_not_flagged() -> None:
    random = np.random.default_rng(3)
    after, before, classes = planted(random, 4)
    assert not any(group.flagged for group in group_losses(before, after, columns(classes, random)))


def test_errors_of_numbers_are_compared_by_group_too() -> None:
    random = np.random.default_rng(5)
    errors = random.exponential(1.0, 400)
    sexes = random.integers(0, 2, 400).astype(float)
    worse = errors + 0.5 * (sexes == 1) * random.random(400)
    found = group_losses(-errors, -worse, [Column("sex", sexes, ("1", "2"))], shares=False)
    assert [group.flagged for group in found] == [False, True]


def test_few_items_are_shown_and_not_tested() -> None:
    right = np.ones(24)
    few = np.array([0.0] * 20 + [1.0] * 4)
    found = group_losses(right, np.zeros(24), [Column("size", few, ("large", "small", "none"))])
    assert [(group.group, group.loss.items, group.q is None) for group in found] == [
        ("large", 20, False),
        ("small", 4, True),
    ]
    worst = worst_group(found)
    assert worst is not None and worst.group == "large"
    assert worst_group([]) is None


def test_the_gap_between_groups_is_fairlearns() -> None:
    pytest.importorskip("fairlearn")
    values = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    column = Column("region", np.array([0.0, 0, 0, 1, 1, 1]), ("north", "south"))
    assert gaps_between_groups([values, 1 - values, np.ones(6)], column) == pytest.approx([1 / 3, 1 / 3, 0])
