"""How often verdicts on optimizers are right: `python -m tests.performance.optimizer_scores [RESULTS [RUN]]`.

Seeds are simulated, or drawn from those of a run's optimizers, such as of `bench run --matrix optimizers`.
Three questions, as the percentage of comparisons: is one optimizer under two names told apart; is a planted
difference of 10 % in steps found at the seeds that the power statement of a few seeds asked for; and is a
step that takes 10 % longer, with the same curve, behind on seconds and tied on steps. It prints Markdown.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.analysis.power import MAX_SEEDS, seeds_needed
from bench.analysis.statistics import ratio_interval
from bench.analysis.survival import Outcome
from bench.analysis.verdicts import Verdict, common_error, judge, paired_ratio
from tests.performance.tables import print_table

COMPARISONS = 300
PILOTS = (3, 5, 10)
"""Seeds of a first comparison."""

PLANTED = 1.1
LAUNCHES = 10
STEP_SPREAD = 0.01
"""Standard deviation of a step's time between launches."""

Draw = Callable[[int], np.ndarray]
"""Draws what so many seeds of one optimizer need: pairs of two optimizers share nothing but the optimizer."""


def simulated(spread: float, chance: np.random.Generator) -> Draw:
    """Return what draws seeds that differ by so much, all of which reach the target."""
    return lambda seeds: 1000 * np.exp(chance.normal(0, spread, seeds))


def drawn_from(needed: Sequence[float], chance: np.random.Generator) -> Draw:
    """Return what draws from the seeds of one optimizer, again and again the same ones."""
    return lambda seeds: chance.choice(np.asarray(needed), seeds)


def outcomes(needed: np.ndarray, budget: float) -> dict[int, Outcome]:
    """Return seeds by number; one that needs more than the budget is censored."""
    return {
        seed: Outcome(float(each) if each <= budget else math.inf, budget, bool(each > budget))
        for seed, each in enumerate(needed)
    }


def verdict(first: np.ndarray, second: np.ndarray, budget: float) -> Verdict:
    ratio = paired_ratio(outcomes(first, budget), outcomes(second, budget))
    assert ratio is not None
    return judge([ratio])[0].verdict


def told_apart(draw: Draw, seeds: int, budget: float, comparisons: int = COMPARISONS) -> float:
    """Return how often one optimizer is told apart from itself."""
    return float(
        np.mean([verdict(draw(seeds), draw(seeds), budget) != "can't tell" for _ in range(comparisons)])
    )


def found_planted(
    draw: Draw, pilot: int, budget: float, comparisons: int = COMPARISONS
) -> tuple[float, float]:
    """Return how often 10 % more steps are found at the seeds that the first ones asked for, and how many."""
    found, seeds = [], []
    for _ in range(comparisons):
        first, second = PLANTED * draw(pilot), draw(pilot)
        ratio = paired_ratio(outcomes(first, budget), outcomes(second, budget))
        assert ratio is not None
        asked = seeds_needed(PLANTED - 1, ratio.spread, pilot - 1) or MAX_SEEDS
        more = max(0, asked - pilot)
        first, second = np.append(first, PLANTED * draw(more)), np.append(second, draw(more))
        found.append(verdict(first, second, budget) == "slower")
        seeds.append(len(first))
    return float(np.mean(found)), float(np.median(seeds))


def longer_step(draw: Draw, seeds: int, budget: float, comparisons: int = COMPARISONS) -> tuple[float, float]:
    """Return how often a step that takes 10 % longer is behind on seconds, and how often tied on steps."""
    chance = np.random.default_rng(0)
    behind, tied = [], []
    for _ in range(comparisons):
        curve = outcomes(draw(seeds), budget)
        launches = np.exp(chance.normal(0, STEP_SPREAD, (2, LAUNCHES)))
        step = common_error(ratio_interval((PLANTED * launches[0]).tolist(), launches[1].tolist()))
        on_steps, on_time = paired_ratio(curve, curve), paired_ratio(curve, curve, common=step)
        assert on_steps is not None and on_time is not None
        tied.append(judge([on_steps])[0].verdict == "can't tell")
        behind.append(judge([on_time])[0].verdict == "slower")
    return float(np.mean(behind)), float(np.mean(tied))


HEADINGS = (
    *("seeds of", "seeds", "told apart from itself", "10 % more steps found", "at seeds (median)"),
    *("10 % longer step: behind on seconds", "tied on steps"),
)


def row(name: str, draw: Draw, pilot: int, budget: float) -> tuple[str, ...]:
    found, seeds = found_planted(draw, pilot, budget)
    behind, tied = longer_step(draw, pilot, budget)
    shares = (f"{told_apart(draw, pilot, budget):.1%}", f"{found:.1%}", f"{seeds:.0f}")
    return (name, str(pilot), *shares, f"{behind:.1%}", f"{tied:.1%}")


def recorded(results: Path, run: str | None) -> dict[str, tuple[list[float], float]]:
    """Return what the seeds of each optimizer of a run needed, and a budget, where most reached the target.

    What a seed needed is over the optimizer's median: 1 is as many steps as usual. The budget is enough for
    a planted difference.
    """
    from bench.results.store import Store
    from reports.frames.outcomes import workload_outcomes
    from reports.frames.view import read

    store = Store.open(results, create=False)
    found = {}
    for one in workload_outcomes(read(store, store.find_run(run))):
        for name in one.trained:
            steps = list(one.measured(name, "steps").values())
            reached = [outcome.needed for outcome in steps if outcome.reached]
            if len(steps) >= min(PILOTS) and len(reached) > len(steps) / 2:
                usual = float(np.median(reached))
                needed = [outcome.needed / usual for outcome in steps]
                budget = max(steps[0].budget / usual, PLANTED * max(reached) / usual)
                found[f"{one.workload} {name}"] = (needed, budget)
    return found


def main(arguments: Sequence[str]) -> None:
    chance = np.random.default_rng(0)
    if not arguments:
        rows = (
            row(f"simulation, {spread:.0%} apart", simulated(spread, chance), pilot, 1e4)
            for spread in (0.03, 0.05, 0.08)
            for pilot in PILOTS
        )
    else:
        seeds = recorded(Path(arguments[0]), arguments[1] if len(arguments) > 1 else None)
        rows = (
            row(name, drawn_from(needed, chance), pilot, budget)
            for name, (needed, budget) in seeds.items()
            for pilot in PILOTS
            if pilot <= len(needed)
        )
    print_table(HEADINGS, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
