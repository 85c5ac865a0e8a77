"""Blocks of two sides in turn: what is slower is found, what is not is not, and the budget is kept."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from bench.execution.on_demand import Launched
from bench.regression.ab.blocks import MAX_BLOCKS, Rules, Side, Timing, compare, finding


@dataclass
class Bench:
    """Two sides of timings with known ratios, on a clock of its own: a sample takes one second."""

    ratios: Mapping[str, float]
    noise: float = 0.02
    drift: float = 0.0
    seed: int = 0
    broken: tuple[Side, ...] = ()
    now_s: float = 0.0
    sampled: list[tuple[Side, str]] = field(default_factory=list)
    renew_s: float = 0.0
    renewed: int = 0

    def __post_init__(self) -> None:
        self._chance = np.random.default_rng(self.seed)

    def sample(self, side: Side, key: str) -> Mapping[str, Launched]:
        self.now_s += 1
        self.sampled.append((side, key))
        if side in self.broken:
            return {"latency_s": Launched(None, "exit code 1")}
        centre = self.ratios[key] if side == "B" else 1.0
        value = centre * math.exp(self._chance.normal(0, self.noise) + self.drift * self.now_s)
        return {"latency_s": Launched(value)}

    def renew(self) -> None:
        self.now_s += self.renew_s
        self.renewed += 1

    def timings(self, **options: bool) -> list[Timing]:
        return [Timing(f"infer {key}", "latency_s", {"A": key, "B": key}, **options) for key in self.ratios]

    def compare(self, budget_s: float = 200, margin: float = 0.01, **options: bool) -> list[Timing]:
        found = self.timings(**options)
        rules = Rules(budget_s, margin, seed=self.seed)
        compare(found, self.sample, self.renew, rules, lambda line: None, lambda: self.now_s)
        return found


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.1, "regression"), (0.9, "improvement"), (1.0, "no change")]
)
def test_each_verdict_comes_with_an_interval_that_has_the_truth(ratio, verdict):
    (timing,) = Bench({"net": ratio}, noise=0.01).compare(budget_s=1000)
    found = finding(timing)
    assert found.verdict == verdict
    assert found.ratio.low <= ratio <= found.ratio.high
    assert (found.bound is not None) is (verdict == "no change")


def test_a_clear_difference_stops_at_the_first_look_and_a_small_one_takes_longer():
    clear, small = (Bench({"net": ratio}).compare(budget_s=2000)[0] for ratio in (1.5, 1.01))
    assert len(clear.differences) == 6
    assert small.verdict == "regression" and len(small.differences) > 8


def test_what_is_settled_is_sampled_no_more():
    bench = Bench({"clear": 1.5, "same": 1.0}, noise=0.03)
    clear, same = bench.compare(budget_s=800)
    assert len(clear.differences) < len(same.differences)
    assert Counter(key for _, key in bench.sampled)["clear"] == 4 * len(clear.differences)


def test_the_budget_is_kept_and_what_was_not_seen_is_said():
    bench = Bench({"net": 1.0}, noise=0.1)
    (timing,) = bench.compare(budget_s=60)
    assert bench.now_s <= 60
    found = finding(timing)
    assert found.verdict == "can't tell" and 0.02 < found.bound < 0.5
    assert f"would have seen {found.bound:.1%}" in found.text


def test_too_few_blocks_for_a_verdict_say_so():
    (timing,) = Bench({"net": 3.0}).compare(budget_s=12)
    found = finding(timing)
    assert found.verdict == "can't tell" and "3 blocks of the 6 that a verdict needs" in found.text


def test_blocks_have_both_orders_and_each_side_as_often():
    bench = Bench({"net": 1.0}, noise=0.05)
    bench.compare(budget_s=400)
    orders = Counter(
        "".join(side for side, _ in bench.sampled[at : at + 4]) for at in range(0, len(bench.sampled), 4)
    )
    assert set(orders) == {"ABBA", "BAAB"} and min(orders.values()) > 0.25 * sum(orders.values())
    assert bench.renewed == sum(orders.values())


@pytest.mark.parametrize(("renew_s", "rounds"), [(1.0, 1), (8.0, 2), (100.0, 4)])
def test_servers_that_take_long_have_more_launches(renew_s, rounds):
    bench = Bench({"net": 1.0}, noise=0.05, renew_s=renew_s)
    (timing,) = bench.compare(budget_s=40 * (renew_s + 4))
    assert len(bench.sampled) == 4 + 4 * rounds * (bench.renewed - 1)
    assert len(timing.differences) == bench.renewed


def test_a_machine_that_gets_slower_all_the_time_favours_no_side():
    alarms = 0
    for seed in range(60):
        (timing,) = Bench({"net": 1.0}, drift=0.005, seed=seed).compare(budget_s=120)
        alarms += timing.verdict in ("regression", "improvement")
    assert alarms <= 3


def test_equal_sides_alarm_in_one_of_a_hundred_comparisons_and_a_slower_one_is_found():
    alarms = found = 0
    for seed in range(100):
        same = Bench({f"{n}": 1.0 for n in range(5)}, seed=seed).compare(budget_s=400)
        alarms += any(finding(timing).alarms for timing in same)
        slower = Bench({"net": 1.03}, seed=seed).compare(budget_s=120)
        found += slower[0].verdict == "regression"
    assert alarms <= 4 and found >= 85


def test_more_is_better_where_the_metric_says_so():
    (timing,) = Bench({"net": 1.2}).compare(higher=True)
    assert timing.verdict == "improvement"


@pytest.mark.parametrize(
    ("broken", "verdict", "text"),
    [
        (("B",), "lost", "fails now: exit code 1"),
        (("A",), "new", "failed before: exit code 1"),
        (("A", "B"), "not comparable", "fails on both sides"),
    ],
)
def test_a_side_that_fails_ends_its_timing(broken, verdict, text):
    bench = Bench({"net": 1.0}, broken=broken)
    (timing,) = bench.compare()
    found = finding(timing)
    assert (found.verdict, len(bench.sampled)) == (verdict, 4)
    assert text in found.text


def test_metrics_of_the_same_samples_cost_no_more():
    bench = Bench({"net": 1.0})
    both = [
        Timing("python train.py", metric, {"A": "net", "B": "net"}) for metric in ("wall_s", "processor_s")
    ]

    def sample(side: Side, key: str) -> Mapping[str, Launched]:
        value = bench.sample(side, key)["latency_s"].value
        return {"wall_s": Launched(value), "processor_s": Launched(value and value / 2)}

    compare(both, sample, bench.renew, Rules(60, 0.01, seed=0), lambda line: None, lambda: bench.now_s)
    assert len(bench.sampled) == 4 * len(both[0].differences) == 4 * len(both[1].differences)


def test_the_number_of_blocks_is_bounded():
    (timing,) = Bench({"net": 1.0}, noise=2.0).compare(budget_s=1e9)
    assert len(timing.differences) == MAX_BLOCKS
