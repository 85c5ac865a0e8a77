"""Which trial is pruned, which one is best, and where the rate is moved beyond those that were tried."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.tuning import FACTOR, Trial, best_of, beyond, edge, pruned

NOTHING = math.nan, math.inf, -math.inf


def tried(number: int, lr: float, steps: float | None = None, quality: float | None = 0.5) -> Trial:
    return Trial(number, {"lr": lr}, "budget" if steps is None else "reached", "", steps, quality)


@pytest.mark.parametrize(
    ("qualities", "step", "goes_on"),
    [
        ([0.1, 0.2], 40, True),  # before half of the budget nothing is pruned
        ([0.1, 0.2], 50, False),
        ([0.1, 0.31], 50, True),  # from 0.1 to 0.9 a quarter of the way is 0.3
        ([0.31, 0.1], 50, True),  # it has been there
        ([math.nan, 0.2], 50, False),
        ([], 50, False),
        ([0.1, 0.2], 100, True),  # it has ended anyway
    ],
)
def test_a_trial_is_pruned_that_came_less_than_a_quarter_of_the_way_in_half_of_its_steps(
    qualities: list[float], step: int, goes_on: bool
) -> None:
    why = pruned(qualities, untrained=0.1, target=0.9, step=step, steps=100)
    assert (why == "") is goes_on
    assert goes_on or "step 50 of 100 is under 0.3, 25% of the way from 0.1 (untrained)" in why


@pytest.mark.parametrize("untrained", NOTHING)
def test_nothing_is_pruned_where_the_untrained_models_quality_is_no_number(untrained: float) -> None:
    assert pruned([0.0], untrained, target=0.9, step=50, steps=100) == ""


def test_the_best_trial_took_the_fewest_steps_to_the_target() -> None:
    trials = [tried(1, 0.1, 300, 0.99), tried(2, 0.2, 120, 0.9), tried(3, 0.3, 120, 0.95), tried(4, 0.4)]
    best = best_of(trials)
    assert best is not None and best.number == 2  # the first of equal ones


def test_where_none_reached_the_target_the_best_quality_is_chosen_and_a_lost_trial_never() -> None:
    lost = Trial(1, {"lr": 9.0}, "diverged", "the training loss is nan at step 3", None, 0.8)
    trials = [lost, tried(2, 0.2, quality=0.6), tried(3, 0.3, quality=0.7), tried(4, 0.4, quality=math.nan)]
    best = best_of(trials)
    assert best is not None and best.number == 3
    assert best_of([lost, tried(4, 0.4, quality=math.nan)]) is None
    assert best_of([]) is None


@given(
    st.permutations(range(1, 6)),
    st.lists(st.sampled_from([None, 90.0, 100.0, 110.0]), min_size=5, max_size=5),
)
def test_the_choice_does_not_depend_on_the_order_of_trials(
    order: list[int], steps: list[float | None]
) -> None:
    trials = [tried(number, number / 10, steps[number - 1]) for number in order]
    assert best_of(trials) == best_of(sorted(trials, key=lambda trial: trial.number))


def test_a_rate_is_at_the_edge_where_no_trial_had_one_beyond_it() -> None:
    rates = (0.01, 0.03, 0.1)
    for best, side in zip(rates, ("low", None, "high"), strict=True):
        trials = [tried(n, rate, 100 if rate == best else 200) for n, rate in enumerate(rates, 1)]
        chosen = best_of(trials)
        assert chosen is not None and edge(chosen, trials, "lr") == side


def test_a_trial_that_diverged_shows_that_its_rate_was_tried() -> None:
    trials = [tried(1, 0.01), tried(2, 0.1, 100), Trial(3, {"lr": 1.0}, "diverged", "loss is nan")]
    assert edge(trials[1], trials, "lr") is None


def test_a_rate_that_was_not_searched_has_no_edge() -> None:
    trials = [Trial(n, {"momentum": n / 10}, "reached", "", 10.0 * n, 0.9) for n in (1, 2, 3)]
    assert edge(trials[0], trials, "lr") is None


@pytest.mark.parametrize("side", ["low", "high"])
def test_beyond_the_edge_the_rate_is_moved_and_the_other_settings_are_the_best_trials(side) -> None:
    best = Trial(2, {"lr": 0.03, "weight_decay": 0.1}, "reached", "", 100.0, 0.9)
    moved = beyond(best, side, "lr")
    assert moved["weight_decay"] == 0.1
    assert moved["lr"] == pytest.approx(0.03 * FACTOR if side == "high" else 0.03 / FACTOR)


def test_extensions_end_once_the_best_rate_lies_between_others() -> None:
    """A bowl with its minimum at 1.5, tried below: the rate is moved up until one beyond it was worse."""
    trials = [tried(n, rate, abs(math.log(rate / 1.5)) + 1) for n, rate in enumerate((0.1, 0.2, 0.4), 1)]
    for number in itertools.count(4):
        best = best_of(trials)
        assert best is not None
        side = edge(best, trials, "lr")
        if side is None:
            break
        rate = beyond(best, side, "lr")["lr"]
        trials.append(tried(number, rate, abs(math.log(rate / 1.5)) + 1))
    assert [trial.settings["lr"] for trial in trials[3:]] == pytest.approx([1.2, 3.6])
    assert best.settings["lr"] == pytest.approx(1.2)
