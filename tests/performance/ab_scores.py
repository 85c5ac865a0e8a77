"""What `bench ab` finds in two minutes and in ten: `python -m tests.performance.ab_scores [record|score]`.

`record MINUTES` records launches with real extra work on this machine (`recording`), for so long at most;
called again, it goes on. `score` replays comparisons of two networks from blocks drawn from the recorded
ones, by the rules and the clock of `bench ab`: what it finds, how often it alarms where nothing differs, and
whether its bounds are right. Without a word it does so with simulated blocks, of launches that lie 1, 2 and
3 % apart, from servers that are 0.5 % apart. It prints Markdown.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.noise import centre
from bench.execution.on_demand import Launched
from bench.regression.ab.blocks import Rules, Side, Timing, compare
from tests.performance.launch_pool import BEFORE, EXTRA, NETWORKS, RECORDED, Block, blocks_of, read_launches
from tests.performance.recording import record
from tests.performance.tables import print_table

COMPARISONS = 300
BUDGETS_S = (120.0, 600.0)
NOTHING = "+0"
"""The network of side B that does what side A's does."""


class Replay:
    """Plays blocks drawn at random as two sides, on a clock of its own.

    Where both do the same work, which side is which is drawn for each block: then nothing differs, however
    few blocks there are to draw from.
    """

    def __init__(self, blocks: Sequence[Block], metric: str, other: str, seed: int) -> None:
        self.now_s = 0.0
        self._blocks, self._metric, self._other = blocks, metric, other
        self._chance = random.Random(seed)

    def renew(self) -> None:
        self._block = self._chance.choice(self._blocks)
        self._networks: dict[Side, str] = {"A": BEFORE, "B": self._other}
        if self._other == NOTHING and self._chance.random() < 0.5:
            self._networks = {"A": self._other, "B": BEFORE}
        self._given: dict[Side, int] = {"A": 0, "B": 0}
        self.now_s += self._block.servers_s

    def sample(self, side: Side, key: str) -> Mapping[str, Launched]:
        values = self._block.launches[self._metric, self._networks[side]]
        value = values[self._given[side] % len(values)]
        self._given[side] += 1
        self.now_s += self._block.launch_s[self._metric]
        return {self._metric: Launched(value)}


def replayed(blocks: Sequence[Block], metric: str, other: str, seed: int, budget_s: float) -> Timing:
    """Return what `bench ab` makes of drawn blocks of the first network and another."""
    replay = Replay(blocks, metric, other, seed)
    timing = Timing("", metric, {"A": "", "B": ""})
    rules = Rules(budget_s, margin=0.005, seed=seed)
    compare([timing], replay.sample, replay.renew, rules, lambda line: None, lambda: replay.now_s)
    return timing


@dataclass(frozen=True)
class Score:
    """Of one network, what comparisons with the first one come to.

    `truth` is its share more of time over all blocks, `slower` how often it was named slower, `blocks` how
    many a comparison took (the median), `right` how often a bound was no less than the truth, where there is
    something to be found.
    """

    truth: float
    slower: float
    blocks: float
    right: float
    bounds: int


def score(
    blocks: Sequence[Block], metric: str, other: str, budget_s: float, comparisons: int = COMPARISONS
) -> Score:
    """Replay comparisons of a network with the first one."""
    truth = 0.0 if other == NOTHING else centre([_ratio(block, metric, other) for block in blocks]) - 1
    found = [replayed(blocks, metric, other, seed, budget_s) for seed in range(comparisons)]
    bounds = [timing.bound for timing in found if timing.bound is not None and math.isfinite(timing.bound)]
    return Score(
        truth,
        float(np.mean([timing.verdict == "regression" for timing in found])),
        float(np.median([len(timing.differences) for timing in found])),
        float(np.mean([truth <= bound for bound in bounds])) if bounds and truth else math.nan,
        len(bounds),
    )


def _ratio(block: Block, metric: str, other: str) -> float:
    before, after = (np.mean(np.log(block.launches[metric, name])) for name in (BEFORE, other))
    return float(np.exp(after - before))


def show(title: str, blocks: Sequence[Block], say: Callable[[str], None] = print) -> None:
    """Print the scores of all networks, metrics and budgets."""
    seconds = [f"{np.mean([block.servers_s for block in blocks]):.1f} s for two servers"]
    for metric in blocks[0].metrics:
        launch_s = np.mean([block.launch_s[metric] for block in blocks])
        apart = np.std([math.log(value) for block in blocks for value in _centred(block, metric)])
        seconds.append(f"{metric} {launch_s:.1f} s a launch, launches of a block {apart:.1%} apart")
    say(f"\n{title}, {len(blocks)} blocks: {'; '.join(seconds)}\n")
    rows = (
        (
            *(metric, f"{budget_s / 60:.0f} min", f"{EXTRA[other]} of 100 layers more"),
            *(f"{found.truth:+.1%}", f"{found.slower:.1%}", f"{found.blocks:.0f}"),
            "–" if math.isnan(found.right) else f"{found.right:.1%} of {found.bounds}",
        )
        for metric in blocks[0].metrics
        for budget_s in BUDGETS_S
        for other in EXTRA
        for found in (score(blocks, metric, other, budget_s),)
    )
    print_table(
        ("metric", "budget", "work", "truth", "named slower", "blocks", "bounds that are right"), rows, say
    )


def _centred(block: Block, metric: str) -> list[float]:
    """Return the launches of each network of a block over their geometric mean."""
    values = [np.asarray(block.launches[metric, name]) for name in NETWORKS]
    return [float(value) for each in values for value in each / np.exp(np.log(each).mean())]


def simulated(spread: float, count: int = 300, seed: int = 0) -> list[Block]:
    """Return blocks of launches that lie so far apart, from servers that are 0.5 % apart, on a slow drift."""
    chance = np.random.default_rng(seed)
    drift = np.cumsum(chance.normal(0, 0.002, count))
    found = []
    for block in range(count):
        launches = {}
        for name in NETWORKS:
            noise = chance.normal(0, 0.005) + chance.normal(0, spread, 6) + drift[block]
            launches["latency_s", name] = list((1 + EXTRA.get(name, 0) / 100) * np.exp(noise))
        found.append(Block(False, 3.0, launches, {"latency_s": 1.0}))
    return found


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["record"]:
        count = record(float(arguments[1]))
        print(f"{RECORDED}: {count} blocks more")
    elif arguments[:1] == ["score"]:
        blocks = blocks_of(read_launches())
        for neighbour, title in ((False, "recorded"), (True, "recorded, with a neighbour")):
            own = [block for block in blocks if block.neighbour == neighbour]
            if own:
                show(title, own)
    else:
        for spread in (0.01, 0.02, 0.03):
            show(f"simulated, launches {spread:.0%} apart", simulated(spread))


if __name__ == "__main__":
    main(sys.argv[1:])
