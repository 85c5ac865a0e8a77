"""Times a step of training on one of several devices: what the efficiency of all of them is held against."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from bench.instruments.memory import PeakResident
from bench.models.training import Trainer
from bench.records import Measurement, Request
from bench.stages.inputs import make_trainer
from bench.stages.resident import resident_memory
from bench.stages.settings import SingleSettings
from bench.stages.step import stepper
from bench.stages.timing import timed_pass, timings
from bench.stages.train import effective_batch
from bench.workloads.loading import load_workload
from techniques.optimizers.torch_optim import period_of

_SEED = 0
_PLANNED_STEPS = 10**9
_METRIC = "single_step_s"


def run(request: Request[SingleSettings], folder: Path) -> list[Measurement]:
    """Measure the time of a step on one device, on the whole batch.

    Of a CPU, one of its devices is the share of cores, with as many threads, that each rank has.
    """
    threads = _keep_to_share(request)
    with PeakResident() as resident:
        trainer = _trainer(request.settings)
        stepper(trainer)()
        trainer.synchronize()
    period = 1 if trainer.learn.optimizer is None else period_of(trainer.learn.optimizer)
    step = stepper(trainer)

    def steps() -> None:
        for _ in range(period):
            step()

    timed = timed_pass(steps, trainer.synchronize, request)
    samples = timed.samples.of_parts(period)
    wanted = (_METRIC, "fastest_s", "within_variation", "effective_samples")
    where = f"{threads} of {request.threads} threads" if request.device == "cpu" else "one device"
    return [
        *(entry for entry in timings(_METRIC, samples) if entry.metric in wanted),
        *timed.steadiness(),
        effective_batch(trainer),
        *resident_memory(resident, trainer.ranks),
        Measurement("single_threads", threads, method=where),
    ]


def _keep_to_share(request: Request[SingleSettings]) -> int:
    """Keep to the cores and threads of one device; return the number of threads."""
    if request.device != "cpu":
        return request.threads
    each = max(1, len(request.cpus) // request.settings.of_devices)
    os.sched_setaffinity(0, request.cpus[:each])
    threads = max(1, request.threads // request.settings.of_devices)
    torch.set_num_threads(threads)
    return threads


def _trainer(settings: SingleSettings) -> Trainer:
    workload, data = load_workload(settings.workload, settings.test_samples)
    torch.manual_seed(_SEED if settings.seed is None else settings.seed)
    regime = settings.regime(_PLANNED_STEPS, taken=_PLANNED_STEPS * 9 // 10)
    trainer = make_trainer(settings, workload, data, workload.model(), regime)
    trainer.learn.model.train()
    return trainer
