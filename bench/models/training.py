"""The one training loop: for training to a target, and for recovery after a compression step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch

from bench.analysis.to_target import DIVERGED_FACTOR, Crossing, crossing, diverged_at, first_held, meets
from bench.errors import Diverged, StageError
from bench.models.predictions import Predictions, gathered
from bench.workloads.workload import Data, Workload
from techniques.backends.training import TrainingStep
from techniques.numbers import as_taken
from techniques.parallel.ranks import Ranks

EVALUATION_BATCH = 250
"""Samples evaluated at once: few enough that a small net's activations stay near the caches."""
_WARM_UP_SEED = 0


@dataclass(frozen=True)
class Goal:
    """What training is for: a quality metric's target, looked for every `period` steps.

    Unless it `stops` there, it goes on for all of its steps. If not `bounded`, a loss may grow without end as
    long as it is finite: the first two steps of a smoke run say nothing of its course.
    """

    metric: str
    target: float
    period: int
    stops: bool = True
    bounded: bool = True


@dataclass(frozen=True)
class Evaluation:
    """One point of the training curve; `seconds` is the training clock, see `TrainingRecord`.

    `samples` went forward and backward until then, repeats counted.
    """

    step: int
    seconds: float
    loss: float
    quality: Mapping[str, float]
    samples: int = 0


@dataclass
class TrainingRecord:
    """What a training did, and on which clock.

    `training_s` has the batches, the steps, and what the optimizer does so that its weights can be evaluated
    (a swap of averaged weights: AlgoPerf times that too, Dahl et al. 2023). `evaluation_s` has predictions
    and quality, and what the suite does to have the weights of several devices in one place.
    """

    evaluations: list[Evaluation] = field(default_factory=list)
    steps: int = 0
    samples: int = 0
    training_s: float = 0.0
    evaluation_s: float = 0.0

    def crossing(self, goal: Goal) -> Crossing | None:
        """Return where the target came to hold, between evaluations; None where it did not."""
        return crossing([point.quality[goal.metric] for point in self.evaluations], goal.target)

    def first_crossing(self, goal: Goal) -> Evaluation | None:
        """Return the first evaluation that met the target."""
        return next((p for p in self.evaluations if meets(p.quality[goal.metric], goal.target)), None)

    def sustained(self, goal: Goal) -> Evaluation | None:
        """Return the first of two evaluations in a row that met the target."""
        position = first_held([point.quality[goal.metric] for point in self.evaluations], goal.target)
        return None if position is None else self.evaluations[position]


@dataclass(frozen=True)
class Trainer:
    """Everything that stays the same over the steps of one training."""

    workload: Workload
    data: Data
    learn: TrainingStep
    batch_size: int
    device: torch.device
    synchronize: Callable[[], None] = lambda: None

    @property
    def samples_per_batch(self) -> int:
        """Return how many samples a batch has: `batch_size`, or all where there are fewer."""
        return min(self.batch_size, len(self.data.train_inputs))

    @property
    def ranks(self) -> Ranks:
        """Return the processes that train together: this one alone."""
        return Ranks(0, 1, "")

    def step(self, chosen: torch.Tensor) -> torch.Tensor:
        """Take one optimizer step on the samples of these numbers; return the loss without waiting for it."""
        targets = self.data.train_targets[chosen].to(self.device)
        return self.learn(self.inputs(self.own(chosen)), targets)

    def inputs(self, chosen: torch.Tensor) -> torch.Tensor:
        """Return the samples of these numbers as the model takes them."""
        return self.workload.transform(self.data.train_inputs[chosen].to(self.device))

    def own(self, chosen: torch.Tensor) -> torch.Tensor:
        """Return which samples of a batch go through this process: all of them."""
        return chosen

    def of_all(self, losses: list[float]) -> list[float]:
        """Return the losses of whole batches by what this process's steps returned."""
        return losses

    def warm_up(self) -> None:
        """Do once what only the first step does, so that no clock sees compilation or a cold start.

        Leaves weights, buffers and random numbers as they were.
        """
        samples = len(self.data.train_inputs)
        chosen = torch.arange(self.samples_per_batch)
        epoch = islice(
            shuffled_batches(samples, self.batch_size, _WARM_UP_SEED), samples // self.samples_per_batch
        )
        self.learn.warm_up(
            self.inputs(self.own(chosen)),
            self.data.train_targets[chosen].to(self.device),
            (self.data.train_targets[numbers] for numbers in epoch),
        )
        self.synchronize()

    def train(
        self,
        steps: int,
        seed: int,
        goal: Goal | None = None,
        *,
        record: TrainingRecord | None = None,
        gives_up: Callable[[TrainingRecord], object] = lambda record: False,
    ) -> TrainingRecord:
        """Train for `steps`, or until the goal's target holds in validation for two evaluations in a row.

        Without a goal nothing is evaluated. `record` is filled in, so that what was done is known where this
        raises. Training ends too once `gives_up` is true of the record, asked after each evaluation. Raises
        Diverged, which names the step, where a loss is not finite, or towards a goal ten times that of the
        first step, and where the outputs are not finite; StageError where the quality is NaN though they are.
        """
        record = TrainingRecord() if record is None else record
        batches = shuffled_batches(len(self.data.train_inputs), self.batch_size, seed)
        start = math.nan
        while record.steps < steps:
            losses = self._train_on(
                batches, record, min(goal.period if goal else steps, steps - record.steps)
            )
            loss = sum(losses) / len(losses)
            if goal:
                start = losses[0] if math.isnan(start) else start
                if goal.bounded:
                    _refuse_leap(losses, start, record.steps - len(losses))
                self._evaluate(record, loss, goal.metric)
                if (goal.stops and record.sustained(goal)) or gives_up(record):
                    break
        return record

    def evaluate(self) -> tuple[Predictions, Mapping[str, float]]:
        """Return the model's outputs for the validation samples, and their quality."""
        samples = self.data.validation
        assert samples is not None and self.workload.quality is not None, "what is trained has both"
        outputs = predict(self.learn.model, self.workload, samples.inputs, self.device)
        return outputs, self.workload.quality(outputs.as_returned, samples.targets)

    def _train_on(self, batches: Iterator[torch.Tensor], record: TrainingRecord, steps: int) -> list[float]:
        """Take so many steps; return the loss of each. They wait on the device until all are taken."""
        self.learn.model.train()
        dtype = torch.float32 if self.device.type == "mps" else torch.float64  # which Apple's GPUs lack
        losses = torch.empty(steps, dtype=dtype, device=self.device)
        passes = self.learn.passes
        started = time.perf_counter()
        for step, chosen in enumerate(islice(batches, steps)):
            losses[step] = self.step(chosen)
        self.learn.write_back()
        self.synchronize()
        record.training_s += time.perf_counter() - started
        record.steps += steps
        record.samples += (self.learn.passes - passes) * self.samples_per_batch
        found = self.of_all(losses.tolist())
        first = diverged_at(found, start=0)
        if first is not None:
            raise Diverged(f"the training loss is {found[first]} at step {record.steps - steps + first + 1}")
        return found

    def _evaluate(self, record: TrainingRecord, loss: float, metric: str) -> None:
        started = time.perf_counter()
        outputs, quality = self.evaluate()
        if math.isnan(quality[metric]):
            if not torch.isfinite(outputs.main).all():
                raise Diverged(f"outputs are not finite after {record.steps} steps")
            raise StageError(f"quality: {metric} is not a number (NaN)")
        record.evaluations.append(Evaluation(record.steps, record.training_s, loss, quality, record.samples))
        record.evaluation_s += time.perf_counter() - started


def _refuse_leap(losses: Sequence[float], start: float, before: int) -> None:
    """Raise Diverged at the first loss that is many times the first step's, `before` steps being past."""
    first = diverged_at(losses, start)
    if first is not None:
        raise Diverged(
            f"the training loss is {losses[first]:.3g} at step {before + first + 1}, "
            f"{DIVERGED_FACTOR:g} times the first step's {start:.3g} or more"
        )


def shuffled_batches(samples: int, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield the sample numbers (batch_size,) of each batch, without end; every epoch has an order of its own.

    The last batch of an epoch is left out where it would be smaller than the rest.
    """
    generator = torch.Generator().manual_seed(seed)
    batch_size = min(batch_size, samples)
    while True:
        order = torch.randperm(samples, generator=generator)
        for start in range(0, samples - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


@torch.no_grad()
def predict(
    model: torch.nn.Module, workload: Workload, inputs: torch.Tensor, device: torch.device
) -> Predictions:
    """Return the model's outputs (samples, ...) for kept inputs, on the CPU, in evaluation mode.

    Transforms and models may write to their inputs, and models to outputs that they gave: both are copies.
    Raises StageError as `gathered` does.
    """
    model.eval()

    def batches() -> Iterator[tuple[Any, int]]:
        for start in range(0, len(inputs), workload.fixed_batch or EVALUATION_BATCH):
            batch = batch_at(workload, inputs, start)
            yield model(as_taken(model, workload.transform(batch.to(device)))), len(batch)

    return gathered(batches()).first(len(inputs))


def batch_at(workload: Workload, inputs: torch.Tensor, start: int = 0) -> torch.Tensor:
    """Return a copy of the inputs to evaluate at once from `start` on; of a fixed batch all of its samples.

    Samples repeat where there are too few.
    """
    if workload.fixed_batch is None:
        return inputs[start : start + EVALUATION_BATCH].clone()
    return inputs[(start + torch.arange(workload.fixed_batch)) % len(inputs)]
