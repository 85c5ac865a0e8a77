"""What a training on several devices counts as training, by a clock of its own."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from bench.models.parallel_training import ParallelTrainer
from bench.models.training import Goal
from bench.workloads.image_classification import DIGITS
from bench.workloads.splits import with_validation
from techniques.parallel.ranks import Ranks


class KnownTimes:
    """A step of one rank, each part of which takes known seconds: 1 a step, 0.5 to swap, 100 to gather."""

    spread = SimpleNamespace(ranks=Ranks(0, 1, ""))
    passes = 0

    def __init__(self) -> None:
        self.model, self.now_s, self.gathered = DIGITS.model(), 0.0, 0

    def share(self, count: int) -> slice:
        return slice(count)

    def __call__(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.now_s += 1.0
        return torch.tensor(1.0)

    def write_back(self) -> None:
        self.now_s += 0.5

    def gather(self) -> None:
        self.now_s += 100.0
        self.gathered += 1


@pytest.mark.parametrize("goal", [None, Goal("accuracy", 2.0, 5)])
def test_gathering_weights_for_an_evaluation_is_no_part_of_the_training_clock(monkeypatch, goal):
    learn = KnownTimes()
    monkeypatch.setattr(time, "perf_counter", lambda: learn.now_s)
    data = with_validation(DIGITS.data())
    trainer = ParallelTrainer(DIGITS, data, cast(Any, learn), 32, torch.device("cpu"))
    record = trainer.train(10, seed=0, goal=goal)
    parts = 2 if goal else 1
    assert record.training_s == pytest.approx(10 + 0.5 * parts)
    assert record.evaluation_s == pytest.approx(100 * parts) and learn.gathered == parts
    if goal:
        assert [point.seconds for point in record.evaluations] == pytest.approx([5.5, 11.0])
