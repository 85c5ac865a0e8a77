"""The training loop as several ranks go through it together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bench.models.training import Evaluation, Trainer, TrainingRecord
from techniques.parallel.ranks import Ranks
from techniques.parallel.step import ParallelTrainingStep


@dataclass(frozen=True)
class ParallelTrainer(Trainer):
    """A training on several devices: the batches of one device, of which each rank takes its samples.

    Rank 0 evaluates on the validation set, and all ranks go by what it found.
    """

    learn: ParallelTrainingStep

    @property
    def ranks(self) -> Ranks:
        """Return the processes that train together."""
        return self.learn.spread.ranks

    def own(self, chosen: torch.Tensor) -> torch.Tensor:
        """Return which samples of a batch go through this rank; raises CannotApply where it has no share."""
        return chosen[self.learn.share(len(chosen))]

    def of_all(self, losses: list[float]) -> list[float]:
        """Return the losses of whole batches, which are means over the ranks."""
        return self.ranks.mean(losses)

    def _train_on(self, batches: Iterator[torch.Tensor], record: TrainingRecord, steps: int) -> list[float]:
        """Take so many steps, then gather the weights: that is the evaluation's time, not the training's."""
        losses = super()._train_on(batches, record, steps)
        started = time.perf_counter()
        self.learn.gather()
        self.synchronize()
        record.evaluation_s += time.perf_counter() - started
        return losses

    def _evaluate(self, record: TrainingRecord, loss: float, metric: str) -> None:
        started = time.perf_counter()
        if self.ranks.first:
            super()._evaluate(record, loss, metric)
            self.ranks.from_first([record.evaluations[-1].quality[metric]])
            return
        (quality,) = self.ranks.from_first([0.0])
        record.evaluations.append(
            Evaluation(record.steps, record.training_s, loss, {metric: quality}, record.samples)
        )
        record.evaluation_s += time.perf_counter() - started
