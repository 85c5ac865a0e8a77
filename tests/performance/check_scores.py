"""How well checks find what got slower, and how often they alarm for nothing, beside other tools' rules.

`python -m tests.performance.check_scores` scores all rules on the same samples: a check of twenty timings,
six launches a side, ten earlier runs. Launches are simulated, or drawn from recorded ones of a noisy machine
(`tests/data/launches.json`). Each run is off by a drift of its own, the same for all of its timings, and a
neighbour may slow some of its launches. `python -m tests.performance.check_scores pool RESULTS...` records
launches from results folders.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from bench.analysis.noise import MIN_LAUNCHES, centre
from bench.analysis.statistics import ratio_interval
from bench.regression.timing import Timing, judge_timings

POOL = Path(__file__).parents[1] / "data" / "launches.json"

CELLS = 20
LAUNCHES = 6
EARLIER = 10
CHECKS = 300
"""Checks without a change; of each slowdown a third as many."""

Launches = Sequence[float]


@dataclass(frozen=True)
class Conditions:
    """What a run may be off by: its drift, evenly within ± this share, and a neighbour.

    The neighbour is there in a run with probability `neighbour`, and slows each launch by up to a fifth with
    probability one half.
    """

    name: str
    drift: float = 0.0
    neighbour: float = 0.0


STEADY = Conditions("runs within ±0.5 %", drift=0.005)
DRIFTING = Conditions("runs within ±5 %", drift=0.05)
VISITED = Conditions("runs within ±0.5 %, a neighbour in every third", drift=0.005, neighbour=1 / 3)


def simulated(spread: float, seed: int = 0, stages: int = 60, launches: int = 400) -> list[list[float]]:
    """Return simulated launches of stages that lie so far apart: lognormal, of two modes, with heavy tails,
    and carried over."""
    chance = np.random.default_rng(seed)
    found = []
    for stage in range(stages):
        noise = chance.normal(0, 1, launches)
        if stage % 4 == 1:
            noise = 0.5 * noise + 3 * (chance.random(launches) < 0.3)
        elif stage % 4 == 2:
            noise = 0.7 * chance.standard_t(3, launches)
        elif stage % 4 == 3:
            for at in range(1, launches):
                noise[at] = 0.3 * noise[at - 1] + math.sqrt(1 - 0.3**2) * noise[at]
        found.append(list(np.exp(spread * noise / noise.std())))
    return found


class Samples:
    """Runs in which each timing is drawn from the launches of one stage."""

    def __init__(self, pool: Sequence[Launches], seed: int) -> None:
        self._pool = [np.asarray(launches) / np.median(launches) for launches in pool]
        self._chance = np.random.default_rng(seed)

    def stages(self) -> list[int]:
        return list(self._chance.choice(len(self._pool), CELLS, replace=len(self._pool) < CELLS))

    def run(self, stages: Sequence[int], conditions: Conditions) -> list[list[float]]:
        """Return the launches of each stage in a run: pairs of consecutive ones (Künsch 1989)."""
        factor = math.exp(self._chance.uniform(-conditions.drift, conditions.drift))
        beside = self._chance.random() < conditions.neighbour
        found = []
        for stage in stages:
            recorded = self._pool[stage]
            starts = self._chance.integers(len(recorded), size=LAUNCHES // 2)
            values = recorded[(starts[:, None] + np.arange(2)).ravel() % len(recorded)] * factor
            values = values * np.exp(self._chance.normal(0, 0.0005, LAUNCHES))
            if beside:
                slowed = self._chance.random(LAUNCHES) < 0.5
                values = values * (1 + slowed * self._chance.uniform(0, 0.2, LAUNCHES))
            found.append(list(values))
        return found


@dataclass(frozen=True)
class Check:
    """What one check sees: both runs, and the medians of earlier ones by timing."""

    before: list[list[float]]
    now: list[list[float]]
    again: list[list[float]]
    earlier: list[list[float]]


def make_check(samples: Samples, conditions: Conditions, slower: float = 0.0) -> Check:
    """Return a check in which the first timing got slower by this share, and no other."""
    stages = samples.stages()
    before = samples.run(stages, conditions)
    now, again = (samples.run(stages, conditions) for _ in range(2))
    for run in (now, again):
        run[0] = [value * (1 + slower) for value in run[0]]
    runs = [samples.run(stages, conditions) for _ in range(EARLIER)]
    earlier = [[centre(run[cell]) for run in runs] for cell in range(CELLS)]
    return Check(before, now, again, earlier)


Rule = Callable[[Launches, Launches], bool]
"""Whether a rule calls the second side slower than the first."""


def threshold(reduce: Callable[[Launches], float], share: float) -> Rule:
    return lambda before, now: reduce(now) > (1 + share) * reduce(before)


def benchstat(before: Launches, now: Launches) -> bool:
    """Mann and Whitney's test at 5 %, as golang.org/x/perf/cmd/benchstat; slower by the median."""
    p_value = stats.mannwhitneyu(before, now).pvalue
    return bool(p_value < 0.05 and np.median(now) > np.median(before))


def pyperf(before: Launches, now: Launches) -> bool:
    """Student's two-sample test at 95 % on means, as `pyperf compare_to` (Welch's variances)."""
    p_value = stats.ttest_ind(before, now, equal_var=False).pvalue
    return bool(p_value < 0.05 and np.mean(now) > np.mean(before))


def benchstats(before: Launches, now: Launches) -> bool:
    """Brunner and Munzel's test at 5 %, as the package benchstats."""
    if min(now) > max(before):
        return True  # the statistic is infinite
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p_value = stats.brunnermunzel(before, now).pvalue
    return bool(p_value < 0.05 and np.median(now) > np.median(before))


def asv(before: Launches, now: Launches) -> bool:
    """A factor of 1.1, and intervals that do not overlap: what asv falls back to with few samples."""
    return bool(np.median(now) > 1.1 * np.median(before) and min(now) > max(before))


def low_end(before: Launches, now: Launches) -> bool:
    """Low end of the interval over 1.02, and the ratio over 1.05."""
    found = ratio_interval(now, before)
    return found.low is not None and found.low > 1.02 and found.value > 1.05


RULES: dict[str, Rule] = {
    "mean > 5 % (pytest-benchmark, github-action-benchmark)": threshold(np.mean, 0.05),  # type: ignore[arg-type]
    "mean > 10 %": threshold(np.mean, 0.1),  # type: ignore[arg-type]
    "min > 5 % (pytest-benchmark)": threshold(min, 0.05),
    "min > 10 %": threshold(min, 0.1),
    "Mann-Whitney (benchstat)": benchstat,
    "Welch (pyperf)": pyperf,
    "Brunner-Munzel (benchstats)": benchstats,
    "asv": asv,
    "low end > 1.02 and ratio > 1.05": low_end,
}

OURS = "bench check"
CONFIRMED = "bench check --confirm"


def alarms_of(check: Check) -> dict[str, list[bool]]:
    """Return which timings each rule calls slower."""
    found = {
        name: [rule(before, now) for before, now in zip(check.before, check.now, strict=True)]
        for name, rule in RULES.items()
    }
    first = judged(check, check.now)
    found[OURS] = [each.alarms for each in first]
    again = judged(check, check.again) if any(found[OURS]) else first
    found[CONFIRMED] = [
        one.alarms and other.ratio is not None and other.ratio.low is not None and other.ratio.low > 1
        for one, other in zip(first, again, strict=True)
    ]
    return found


def judged(check: Check, now: list[list[float]]) -> list:
    return judge_timings(
        [
            Timing(f"infer {cell}", "latency_s", check.before[cell], now[cell], check.earlier[cell])
            for cell in range(CELLS)
        ],
        margin=0.05,
        threshold=0.0,
    )


@dataclass
class Score:
    """Of one rule: the share of checks without a change that alarm, and of changes that are found."""

    false_alarms: float
    found: dict[float, float]


def scores(
    samples: Samples, conditions: Conditions, slower: Sequence[float], checks: int
) -> dict[str, Score]:
    """Score every rule on the same checks."""
    nothing = [alarms_of(make_check(samples, conditions)) for _ in range(checks)]
    found = {name: Score(float(np.mean([any(each[name]) for each in nothing])), {}) for name in nothing[0]}
    for share in slower:
        changed = [alarms_of(make_check(samples, conditions, share)) for _ in range(checks // 3)]
        for name, score in found.items():
            score.found[share] = float(np.mean([each[name][0] for each in changed]))
    return found


def bounds(samples: Samples, conditions: Conditions, checks: int) -> tuple[float, float]:
    """Return how often a bound was right: of *no change larger than x*, and of *would have seen y*.

    Slowdowns of 0 to 12 % are injected; a bound is right where the slowdown was no larger.
    """
    right: dict[str, list[bool]] = {"no change": [], "can't tell": []}
    for number in range(checks):
        slower = 0.12 * number / checks
        found = judged(check := make_check(samples, conditions, slower), check.now)[0]
        if found.verdict in right and found.bound is not None:
            right[found.verdict].append(slower <= found.bound)
    return tuple(float(np.mean(each)) if each else math.nan for each in right.values())  # type: ignore[return-value]


def record(results: Sequence[str]) -> None:
    """Record the launches of results folders: those of each timed stage of every run, in their order."""
    from bench.regression.baseline import collect, timings
    from bench.results.store import Store

    found = []
    for folder in results:
        store = Store.open(Path(folder), create=False)
        for run_id in store.runs()["id"]:
            content = collect(store, run_id)
            found += [
                launches for _, _, launches in timings(content["stages"]) if len(launches) >= MIN_LAUNCHES
            ]
    POOL.write_text(json.dumps([[float(f"{value:.4g}") for value in launches] for launches in found]) + "\n")
    print(f"{POOL}: {len(found)} timings, {sum(map(len, found))} launches")


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["pool"]:
        record(arguments[1:])
        return
    print(f"checks of {CELLS} timings, {LAUNCHES} launches a side, {EARLIER} earlier runs")
    for spread in (0.01, 0.02, 0.03):
        show("simulated", simulated(spread), STEADY)
    for conditions in (DRIFTING, VISITED):
        show("simulated", simulated(0.01), conditions)
    show("recorded", json.loads(POOL.read_text()), DRIFTING)


def show(launches: str, pool: Sequence[Launches], conditions: Conditions) -> None:
    """Print the scores of all rules on launches of one machine."""
    spread = np.median([np.std(np.log(each), ddof=1) for each in pool])
    slower = (0.05, 0.1, 0.2)
    columns = ", ".join(f"{share:.0%}" for share in slower)
    print(f"\n{launches} launches, {spread:.1%} apart; {conditions.name}: alarms, found of {columns}")
    for name, score in scores(Samples(pool, seed=0), conditions, slower, CHECKS).items():
        shares = "  ".join(f"{score.found[share]:6.1%}" for share in slower)
        print(f"  {name:56} {score.false_alarms:6.1%}   {shares}", flush=True)
    same, blind = bounds(Samples(pool, seed=1), conditions, CHECKS)
    print(f"  bounds that are right: no change larger than x {same:.1%}, would have seen y {blind:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
