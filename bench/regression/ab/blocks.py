"""Blocks of samples of two sides in turn, until each timing is settled or the budget is spent.

In a block each side has as many samples, in the order ABBA or BAAB, at random: what drifts evenly over a
block cancels, and which side has which places is chance (Cox 1951, "Some systematic experimental designs",
Biometrika 38; Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time").
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from bench.analysis.sequential import FIRST_LOOK, interval_of_blocks, level_of_a_look, looks, smallest_seen
from bench.analysis.statistics import Interval
from bench.execution.on_demand import Launched
from bench.formatting import counted, format_value, three_digits
from bench.metrics import METRICS
from bench.regression.finding import Finding, Verdict
from bench.regression.ratios import in_words, settled, smallest_told

FALSE_ALARMS = 0.01
"""Share of comparisons that name a slower timing where nothing has changed, over all their timings."""

MAX_BLOCKS = 400

MAX_ROUNDS = 4
"""Rounds of ABBA in a block at most: what servers are off by stays, however many launches they have."""

_ORDERS = ("ABBA", "BAAB")

Side = Literal["A", "B"]


@dataclass
class Timing:
    """A timing of both sides: the log ratio B / A of each block, and what became of it.

    `higher` is true where more is better; the ratio is then A / B, so that over 1 is worse all the same.
    """

    stage: str
    metric: str
    keys: Mapping[Side, str]
    higher: bool = False
    values: dict[Side, list[float]] = field(default_factory=lambda: {"A": [], "B": []})
    differences: list[float] = field(default_factory=list)
    verdict: Verdict | None = None
    failed: dict[Side, str] = field(default_factory=dict)
    interval: Interval | None = None
    bound: float | None = None

    @property
    def open(self) -> bool:
        return self.verdict is None and not self.failed


@dataclass(frozen=True)
class Rules:
    """When a comparison stops: seconds, the change that matters, and the slowdown that is let pass."""

    budget_s: float
    margin: float
    threshold: float = 0.0
    seed: int | None = None


Sample = Callable[[Side, str], Mapping[str, Launched]]


def compare(
    timings: Sequence[Timing],
    sample: Sample,
    renew: Callable[[], None],
    rules: Rules,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Sample both sides in blocks until every timing has a verdict, or the budget is spent.

    `renew` gives both sides fresh servers, before each block. Where that takes longer than samples do, a
    block has several rounds of them. Timings with the same keys have their values from the same samples. No
    block begins that would end after the budget, if it took as long as those before it.
    """
    chance = random.Random(rules.seed)
    started = clock()
    plan: tuple[int, ...] = ()
    rounds = 1
    level = 2 * FALSE_ALARMS / max(1, len(timings))
    for number in range(1, MAX_BLOCKS + 1):
        open_ = [timing for timing in timings if timing.open]
        spent_s = clock() - started
        if not open_ or (number > 1 and spent_s + (spent_s / (number - 1)) > rules.budget_s):
            break
        if number == 2:
            # Blocks get shorter as timings are settled: more of them than would fit if none was.
            fit = int(1.5 * rules.budget_s / max(spent_s, 1e-9))
            plan = looks(min(MAX_BLOCKS, max(FIRST_LOOK, fit)))
        renewed_s = clock()
        renew()
        began_s = clock()
        _block(open_, sample, chance, rounds)
        if number == 1:
            rounds = _rounds(began_s - renewed_s, clock() - began_s)
        if number in plan:
            for timing in open_:
                look(timing, level_of_a_look(plan, level), rules)
            say(_progress(timings, number, clock() - started, rules.budget_s))
        if plan and number == plan[-1]:
            break
    for timing in timings:
        if timing.open:
            look(timing, level_of_a_look(plan, level), rules, last=True)


def _rounds(renew_s: float, samples_s: float) -> int:
    """Return how many rounds of samples a block has, so that they take about as long as fresh servers."""
    return min(MAX_ROUNDS, max(1, round(renew_s / max(samples_s, 1e-9))))


def _block(timings: Sequence[Timing], sample: Sample, chance: random.Random, rounds: int) -> None:
    groups: dict[tuple[str, str], list[Timing]] = {}
    for timing in timings:
        groups.setdefault((timing.keys["A"], timing.keys["B"]), []).append(timing)
    for group in groups.values():
        found: dict[Side, list[Mapping[str, Launched]]] = {"A": [], "B": []}
        for _ in range(rounds):
            for side in chance.choice(_ORDERS):
                found[side].append(sample(side, group[0].keys[side]))  # type: ignore[index,arg-type]
        for timing in group:
            _enter(timing, found)


def _enter(timing: Timing, found: Mapping[Side, Sequence[Mapping[str, Launched]]]) -> None:
    """Enter what a block found; a side that failed ends the timing."""
    logs: dict[Side, float] = {}
    for side, samples in found.items():
        launched = [each[timing.metric] for each in samples]
        values = [each.value for each in launched if each.value is not None and each.value > 0]
        if len(values) < len(launched):
            timing.failed[side] = next((each.reason for each in launched if each.reason), "measured nothing")
            continue
        timing.values[side] += values
        logs[side] = fmean(math.log(value) for value in values)
    if not timing.failed:
        timing.differences.append((logs["A"] - logs["B"]) if timing.higher else (logs["B"] - logs["A"]))


def look(timing: Timing, level: float, rules: Rules, *, last: bool = False) -> None:
    """Settle a timing whose interval at this error level allows it; at the last look any."""
    if not timing.differences:
        timing.verdict, timing.bound = "can't tell", None
        return
    found = interval_of_blocks(timing.differences, level)
    timing.interval = found
    if found.low is None or found.high is None:
        timing.verdict = "can't tell" if last else None
        return
    told = settled(found, rules.margin, rules.threshold)
    if told:
        timing.verdict, timing.bound = told
    elif last:
        timing.verdict = "can't tell"
        timing.bound = smallest_told(found, smallest_seen(timing.differences, level), rules.threshold)


def finding(timing: Timing) -> Finding:
    """Return what was found of a timing, in words."""
    if timing.failed:
        return _of_failed(timing)
    before, after = (_centre(timing.values[side]) for side in ("A", "B"))
    values = f"{_value(timing.metric, before)} -> {_value(timing.metric, after)}"
    verdict, ratio = timing.verdict or "can't tell", timing.interval
    blocks = counted(len(timing.differences), "block")
    if ratio is None or ratio.low is None or ratio.high is None:
        few = f"{values}, {blocks} of the {FIRST_LOOK} that a verdict needs"
        return Finding("can't tell", timing.stage, timing.metric, few)
    text = f"{in_words(verdict, ratio, timing.bound, timing.metric)}; {values}, {blocks}"
    return Finding(verdict, timing.stage, timing.metric, text, before, after, ratio, timing.bound)


def _of_failed(timing: Timing) -> Finding:
    sides = list(timing.failed)
    reason = timing.failed[sides[0]]
    if sides == ["B"]:
        return Finding("lost", timing.stage, timing.metric, f"fails now: {reason}")
    if sides == ["A"]:
        return Finding("new", timing.stage, timing.metric, f"failed before: {reason}")
    return Finding("not comparable", timing.stage, timing.metric, f"fails on both sides: {reason}")


def _value(metric: str, value: float) -> str:
    if metric in METRICS:
        return format_value(metric, value)
    unit = " s" if metric.endswith("_s") else " MiB" if metric.endswith("_bytes") else ""
    return f"{three_digits(value / 2**20 if metric.endswith('_bytes') else value)}{unit}"


def _centre(values: Sequence[float]) -> float:
    return math.exp(fmean(map(math.log, values))) if values else math.nan


def _progress(timings: Sequence[Timing], number: int, spent_s: float, budget_s: float) -> str:
    settled = sum(not timing.open for timing in timings)
    return (
        f"block {number}: {settled} of {counted(len(timings), 'timing')} settled, "
        f"{spent_s:.0f} of {budget_s:.0f} s"
    )
