"""What `bench ab` finds in two minutes and in ten: `python -m tests.performance.ab_scores [simulate|score]`.

`record MINUTES` launches a network of a hundred layers, itself again, and with one, three and five more, in
turn, and records them with the seconds that each launch and each fresh server took; the extra work is real.
`score` replays comparisons of two of them from every block on, by the rules and the clock of `bench ab`: what
it finds, how often it alarms where nothing differs, and whether its bounds are right. `simulate` does so with
blocks of launches that lie 1, 2 and 3 % apart, from servers that are 0.5 % apart.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.execution.on_demand import Launched
from bench.regression.ab.blocks import Rules, Side, Timing, compare
from bench.regression.ab.sampling import MatrixSampler, Place

RECORDED = Path(__file__).parents[1] / "data" / "ab_blocks.json"

EXTRA = {"itself": 0, "itself again": 0, "1 more": 1, "3 more": 3, "5 more": 5}
"""Layers added to a hundred, of each network."""

ROUNDS = 3
"""Rounds of launches from one server that are recorded, as `bench ab` makes them where servers take long."""

OWN = """
import torch
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Workload

def make_workload() -> Workload:
    torch.manual_seed(0)
    inputs, targets = torch.randn(256, 256), torch.arange(256) % 4
    def model():
        layers = [layer for _ in range({layers}) for layer in (torch.nn.Linear(256, 256), torch.nn.ReLU())]
        return torch.nn.Sequential(*layers, torch.nn.Linear(256, 4))
    return Workload(
        data=lambda: Data(inputs, targets, inputs, targets),
        transform=lambda images: images,
        model=model,
        loss=torch.nn.functional.cross_entropy,
        quality=accuracy_and_recall,
    )
"""

MATRIX = """
[train]
workload = "own:own.py:make_workload"
optimizer = "sgd"
[infer]
compression = "none"
backend = "cpu-eager"
batch_size = 32
[budget]
train_steps = 2
sample_s = 0.5
"""


def record(minutes: float) -> None:
    """Record blocks of launches of all networks."""
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        samplers = {name: _sampler(Path(folder) / name, layers) for name, layers in EXTRA.items()}
        keys = {
            name: {offer.metric: offer.key for offer in sampler.timings()}
            for name, sampler in samplers.items()
        }
        blocks: list[dict[str, Any]] = []
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            blocks.append(_block(samplers, keys, chance))
            print(f"block {len(blocks)}", file=sys.stderr, flush=True)
            RECORDED.write_text(json.dumps(blocks) + "\n")
        for sampler in samplers.values():
            sampler.close()


def _sampler(folder: Path, extra: int) -> MatrixSampler:
    folder.mkdir(parents=True)
    (folder / "own.py").write_text(OWN.format(layers=100 + extra))
    (folder / "mine.toml").write_text(MATRIX)
    served = {"matrix": "mine.toml", "results": str(folder / "results")}
    return MatrixSampler(Place(folder.name, folder), served, folder / "log")


def _block(
    samplers: Mapping[str, MatrixSampler], keys: Mapping[str, Mapping[str, str]], chance: random.Random
) -> dict[str, Any]:
    """Return the values of each network's launches by metric, and how long they and their servers took."""
    started = time.monotonic()
    names = chance.sample(list(EXTRA), len(EXTRA))
    for at in range(0, len(names), 2):  # two at a time, as `bench ab` does
        for name in names[at : at + 2]:
            samplers[name].start_renewal()
        for name in names[at : at + 2]:
            samplers[name].end_renewal()
    renew_s = (time.monotonic() - started) * 2 / len(EXTRA)
    found: dict[str, Any] = {"renew_s": renew_s}
    for metric in keys["itself"]:
        started = time.monotonic()
        values: dict[str, list[float | None]] = {name: [] for name in EXTRA}
        for _ in range(ROUNDS):
            order = chance.sample(list(EXTRA), len(EXTRA))
            for name in (*order, *reversed(order)):
                values[name].append(samplers[name].sample(keys[name][metric])[metric].value)
        found[metric] = {
            "values": values,
            "launch_s": (time.monotonic() - started) / (2 * ROUNDS * len(EXTRA)),
        }
    return found


@dataclass
class Replay:
    """Plays recorded blocks of two networks from one block on, on a clock of its own; they go round."""

    blocks: Sequence[Mapping[str, Any]]
    metric: str
    sides: Mapping[Side, str]
    start: int
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self._renewals = 0
        self._given: dict[Side, int] = {}

    @property
    def _block(self) -> Mapping[str, Any]:
        return self.blocks[(self.start + self._renewals - 1) % len(self.blocks)]

    def renew(self) -> None:
        self._renewals += 1
        self._given = {"A": 0, "B": 0}
        self.now_s += self._block["renew_s"]

    def sample(self, side: Side, key: str) -> Mapping[str, Launched]:
        own = self._block[self.metric]
        self.now_s += own["launch_s"]
        values = own["values"][self.sides[side]]
        value = values[self._given[side] % len(values)]
        self._given[side] += 1
        return {self.metric: Launched(value)}


def replayed(
    blocks: Sequence[Mapping[str, Any]], metric: str, other: str, start: int, budget_s: float
) -> Timing:
    replay = Replay(blocks, metric, {"A": "itself", "B": other}, start)
    timing = Timing("", metric, {"A": "", "B": ""})
    rules = Rules(budget_s, margin=0.005, seed=start)
    compare([timing], replay.sample, replay.renew, rules, lambda line: None, lambda: replay.now_s)
    return timing


def score(blocks: Sequence[Mapping[str, Any]]) -> None:
    metrics = [name for name in blocks[0] if name != "renew_s"]
    launch_s = {metric: np.mean([block[metric]["launch_s"] for block in blocks]) for metric in metrics}
    took = ", ".join(f"{metric} {seconds:.1f} s a launch" for metric, seconds in launch_s.items())
    print(f"{len(blocks)} blocks; {took}, {np.mean([block['renew_s'] for block in blocks]):.1f} s a server")
    for metric in metrics:
        for budget_s in (120.0, 600.0):
            print(
                f"\n{metric}, {budget_s:.0f} s: network, truth, found, blocks (median), bounds that are right"
            )
            for other in list(EXTRA)[1:]:
                _score_one(blocks, metric, other, budget_s)


def _score_one(blocks: Sequence[Mapping[str, Any]], metric: str, other: str, budget_s: float) -> None:
    truth = float(np.median([_ratio(block, metric, other) for block in blocks]))
    found = [replayed(blocks, metric, other, start, budget_s) for start in range(len(blocks))]
    slower = np.mean([timing.verdict == "regression" for timing in found])
    bounds = [timing.bound for timing in found if timing.bound is not None and math.isfinite(timing.bound)]
    right = np.mean([truth - 1 <= bound for bound in bounds]) if bounds else math.nan
    used = np.median([len(timing.differences) for timing in found])
    print(f"  {other:12}  {truth - 1:+6.1%}  {slower:6.1%}  {used:4.0f}  {right:6.1%} of {len(bounds)}")


def _ratio(block: Mapping[str, Any], metric: str, other: str) -> float:
    before, after = (np.exp(np.mean(np.log(block[metric]["values"][name]))) for name in ("itself", other))
    return float(after / before)


def simulated(spread: float, blocks: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    """Return blocks of launches that lie so far apart, from servers that are 0.5 % apart, on a slow drift."""
    chance = np.random.default_rng(seed)
    drift = np.cumsum(chance.normal(0, 0.002, blocks))
    found = []
    for block in range(blocks):
        values = {}
        for name, extra in EXTRA.items():
            noise = chance.normal(0, 0.005) + chance.normal(0, spread, 2 * ROUNDS) + drift[block]
            values[name] = list((1 + extra / 100) * np.exp(noise))
        found.append({"renew_s": 3.0, "latency_s": {"values": values, "launch_s": 1.0}})
    return found


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["record"]:
        record(float(arguments[1]))
    elif arguments[:1] == ["score"]:
        score(json.loads(RECORDED.read_text()))
    else:
        for spread in (0.01, 0.02, 0.03):
            print(f"\nsimulated: launches {spread:.0%} apart")
            score(simulated(spread))


if __name__ == "__main__":
    main(sys.argv[1:])
