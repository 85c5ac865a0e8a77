"""How well checks find what got slower, and how often they alarm for nothing, beside other tools' rules.

`python -m tests.performance.check_scores [simulated|recorded|shipped] [--ours]` scores all rules on the same
samples, or ours alone in more checks: each of twenty timings, six launches a side, ten earlier runs. Launches
are simulated; or drawn from those of networks with real extra work, recorded by `ab_scores record`; or from
those of shipped cells on a noisy machine (`tests/data/cells.csv`); without a word, all three. Each run is off
by a drift of its own, the same for all of its timings, and a neighbour may slow some of its launches.
`python -m tests.performance.check_scores pool RESULTS...` records launches of shipped cells from results
folders.
"""

from __future__ import annotations

import csv
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from bench.analysis.noise import MIN_LAUNCHES, centre
from bench.analysis.statistics import ratio_interval
from bench.regression.timing import Timing, judge_timings
from tests.performance.launch_pool import BEFORE, EXTRA, Block, blocks_of, read_launches
from tests.performance.tables import print_table

CELLS_FILE = Path(__file__).parents[1] / "data" / "cells.csv"

CELLS = 20
LAUNCHES = 6
EARLIER = 10
CHECKS, CHECKS_OF_OURS = 300, 1000
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


@dataclass(frozen=True)
class Pool:
    """Launches of stages, each around 1, to draw from.

    `beside` has those of the same stages next to a neighbour, where they were recorded. `slower` has for a
    share pairs of stages of which the second does so much more work.
    """

    stages: Sequence[Launches]
    beside: Sequence[Launches] = ()
    slower: Mapping[float, Sequence[tuple[int, int]]] = field(default_factory=dict)


def pool_of(series: Sequence[Launches]) -> Pool:
    """Return a pool of stages that are each compared with itself alone."""
    return Pool([np.asarray(launches) / np.median(launches) for launches in series])


def pool_of_blocks(blocks: Sequence[Block]) -> Pool:
    """Return the pool of recorded networks: launches over the median of those of the first, undisturbed."""
    names = [(metric, network) for metric in blocks[0].metrics for network in (BEFORE, *EXTRA)]
    usual = {
        metric: np.median(_launches(blocks, (metric, BEFORE), neighbour=False))
        for metric in blocks[0].metrics
    }
    quiet, beside = (
        [_launches(blocks, name, neighbour=neighbour) / usual[name[0]] for name in names]
        for neighbour in (False, True)
    )
    slower = {
        extra / 100: [
            (names.index((metric, BEFORE)), names.index((metric, network))) for metric in blocks[0].metrics
        ]
        for network, extra in EXTRA.items()
        if extra
    }
    return Pool(quiet, beside if all(map(len, beside)) else (), slower)


def _launches(blocks: Sequence[Block], name: tuple[str, str], *, neighbour: bool) -> np.ndarray:
    return np.array([x for block in blocks if block.neighbour == neighbour for x in block.launches[name]])


class Samples:
    """Runs in which each timing is drawn from the launches of one stage."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self.pool = pool
        self._chance = np.random.default_rng(seed)

    def stages(self) -> list[int]:
        count = len(self.pool.stages)
        return list(self._chance.choice(count, CELLS, replace=count < CELLS))

    def pair(self, slower: float) -> tuple[int, int] | None:
        """Return two stages of which the second does so much more work, None where none was recorded."""
        pairs = self.pool.slower.get(slower)
        return pairs[self._chance.integers(len(pairs))] if pairs else None

    def run(self, stages: Sequence[int], conditions: Conditions) -> list[list[float]]:
        """Return the launches of each stage in a run: pairs of consecutive ones (Künsch 1989)."""
        factor = math.exp(self._chance.uniform(-conditions.drift, conditions.drift))
        beside = self._chance.random() < conditions.neighbour
        found = []
        for stage in stages:
            recorded = self.pool.beside if beside and self.pool.beside else self.pool.stages
            values = self._drawn(np.asarray(recorded[stage])) * factor
            if beside and not self.pool.beside:
                slowed = self._chance.random(LAUNCHES) < 0.5
                values = values * (1 + slowed * self._chance.uniform(0, 0.2, LAUNCHES))
            found.append(list(values))
        return found

    def _drawn(self, recorded: np.ndarray) -> np.ndarray:
        starts = self._chance.integers(len(recorded), size=LAUNCHES // 2)
        values = recorded[(starts[:, None] + np.arange(2)).ravel() % len(recorded)]
        return values * np.exp(self._chance.normal(0, 0.0005, LAUNCHES))


@dataclass(frozen=True)
class Check:
    """What one check sees: both runs, and the medians of earlier ones by timing."""

    before: list[list[float]]
    now: list[list[float]]
    again: list[list[float]]
    earlier: list[list[float]]


def make_check(samples: Samples, conditions: Conditions, slower: float = 0.0) -> Check:
    """Return a check in which the first timing got slower by this share, and no other.

    It does real extra work where the pool has such launches; elsewhere its own are made longer.
    """
    stages = changed = samples.stages()
    pair = samples.pair(slower)
    if pair:
        stages, changed = ([first, *stages[1:]] for first in pair)
    before = samples.run(stages, conditions)
    now, again = (samples.run(changed, conditions) for _ in range(2))
    for run in (now, again) if not pair else ():
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
    """A factor of 1.1, and 99 % intervals that do not overlap: what asv does without recorded samples.

    With six recorded ones it never alarms: its Mann-Whitney test asks for p < 0.002, and the least is 0.0022.
    """
    longer = np.median(now) > 1.1 * np.median(before)
    return bool(longer and _asv_interval(now)[0] > _asv_interval(before)[1])


def _asv_interval(values: Launches) -> tuple[float, float]:
    """Return asv's interval of few samples: of a posterior with Laplace's noise, never within the samples."""
    launches = np.asarray(values)
    middle = np.median(launches)
    scale = np.abs(launches - middle).sum() + 1e-12
    grid = np.linspace(-9, 9, 2001)
    places = middle + scale * np.sinh(grid)
    density = np.abs(launches[:, None] - places).sum(axis=0) ** -float(len(launches)) * np.cosh(grid)
    shares = (np.cumsum(density) - density / 2) / density.sum()
    low, high = np.interp((0.005, 0.995), shares, places)
    return min(low, launches.min()), max(high, launches.max())


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


def alarms_of(check: Check, rules: Mapping[str, Rule] = RULES) -> dict[str, list[bool]]:
    """Return which timings each of some rules calls slower, and our own."""
    found = {
        name: [rule(before, now) for before, now in zip(check.before, check.now, strict=True)]
        for name, rule in rules.items()
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
    samples: Samples,
    conditions: Conditions,
    slower: Sequence[float],
    checks: int,
    rules: Mapping[str, Rule] = RULES,
) -> dict[str, Score]:
    """Score every rule on the same checks."""
    nothing = [alarms_of(make_check(samples, conditions), rules) for _ in range(checks)]
    found = {name: Score(float(np.mean([any(each[name]) for each in nothing])), {}) for name in nothing[0]}
    for share in slower:
        changed = [alarms_of(make_check(samples, conditions, share), rules) for _ in range(checks // 3)]
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
    with CELLS_FILE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("timing", "value_s"))
        rows.writerows((number, f"{value:.4g}") for number, each in enumerate(found) for value in each)
    print(f"{CELLS_FILE}: {len(found)} timings, {sum(map(len, found))} launches")


def recorded_cells() -> list[list[float]]:
    """Return the launches of shipped cells, of each timing in their order."""
    found: dict[str, list[float]] = {}
    with CELLS_FILE.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["timing"], []).append(float(row["value_s"]))
    return list(found.values())


WORDS = ("simulated", "recorded", "shipped")


def scored(which: str) -> Iterator[tuple[str, Pool, Conditions]]:
    """Yield what is scored, with its name: pools of launches, and what runs may be off by."""
    if which in ("", "simulated"):
        for spread in (0.01, 0.02, 0.03):
            yield f"simulated launches, {spread:.0%} apart", pool_of(simulated(spread)), STEADY
        for conditions in (DRIFTING, VISITED):
            yield "simulated launches, 1% apart", pool_of(simulated(0.01)), conditions
    launches = read_launches() if which in ("", "recorded") else []
    if launches:
        for conditions in (STEADY, DRIFTING, VISITED):
            yield "recorded networks, real extra work", pool_of_blocks(blocks_of(launches)), conditions
    if which in ("", "shipped"):
        yield "shipped cells on a noisy machine", pool_of(recorded_cells()), DRIFTING


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["pool"]:
        record(arguments[1:])
        return
    ours, words = "--ours" in arguments, [word for word in arguments if word != "--ours"]
    if words and words[0] not in WORDS:
        sys.exit(f"one of {', '.join(WORDS)}, got {words[0]!r}")
    checks = CHECKS_OF_OURS if ours else CHECKS
    print(f"checks of {CELLS} timings, {LAUNCHES} launches a side, {EARLIER} earlier runs, {checks} checks")
    for name, pool, conditions in scored(*words[:1] or [""]):
        show(name, pool, conditions, checks, {} if ours else RULES)


def show(name: str, pool: Pool, conditions: Conditions, checks: int, rules: Mapping[str, Rule]) -> None:
    """Print the scores of rules on launches of one machine."""
    apart = np.median([np.std(np.log(each), ddof=1) for each in pool.stages])
    print(f"\n{name} (median {apart:.1%}); {conditions.name}\n")
    slower = (0.05, 0.1, 0.2)
    rows = [
        (rule, f"{score.false_alarms:.1%}", *(f"{score.found[share]:.0%}" for share in slower))
        for rule, score in scores(Samples(pool, seed=0), conditions, slower, checks, rules).items()
    ]
    print_table(("rule", "alarms", *(f"{share:.0%}" for share in slower)), rows)
    same, blind = bounds(Samples(pool, seed=1), conditions, CHECKS)
    print(f"\nbounds that are right: no change larger than x {same:.1%}, would have seen y {blind:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
