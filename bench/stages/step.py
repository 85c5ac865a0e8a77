"""Times one step of training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from bench.instruments import flops, tensors
from bench.instruments.clock import Samples
from bench.instruments.memory import PeakResident
from bench.instruments.traffic import step_bytes
from bench.models.training import Trainer, shuffled_batches
from bench.records import Measurement, Request
from bench.stages.early_loss import EarlyLoss
from bench.stages.inputs import make_trainer
from bench.stages.parts import parts_pass
from bench.stages.resident import device_memory, make_up, resident_memory
from bench.stages.settings import StepSettings
from bench.stages.timing import device_pass, energy_pass, gpu_pass, timed_pass, timings
from bench.stages.together import communication_pass, timed_together
from bench.stages.train import effective_batch
from bench.workloads.loading import load_workload
from bench.workloads.workload import Workload
from techniques.backends.training import KeepsState, TrainingStep
from techniques.optimizers import OptimizerRow
from techniques.optimizers.torch_optim import build, grouped, period_of, variant_of
from techniques.regime import NONE
from techniques.registry import Technique

STEP_PARTS = ("forward", "backward", "recomputed", "optimizer")

_SEED = 0
_MAX_REASON = 200
_PLANNED_STEPS = 10**9
"""A step is timed as one at nine tenths of a training: after a warm-up, in an average of the last steps."""


def run(request: Request[StepSettings], folder: Path) -> list[Measurement]:
    """Measure the time of a step and of its parts; in the first launch also its memory and FLOPs."""
    if request.settings.devices > 1:
        return _in_ranks(request)
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    # The settings have a seed only if it decides the structure of the model.
    torch.manual_seed(_SEED if settings.seed is None else settings.seed)
    model = workload.model()
    with PeakResident() as resident:
        started = time.perf_counter()
        regime = settings.regime(_PLANNED_STEPS, taken=_PLANNED_STEPS * 9 // 10)
        trainer = make_trainer(settings, workload, data, model, regime)
        trainer.learn.model.train()
        step = EarlyLoss(stepper(trainer))
        step()
        trainer.synchronize()
        first_call_s = time.perf_counter() - started
    before = trainer.learn.passes
    period = 1 if trainer.learn.optimizer is None else period_of(trainer.learn.optimizer)
    timed = timed_pass(repeated(step, period), trainer.synchronize, request)
    samples = timed.samples.of_parts(period)
    # On average: an optimizer that evaluates the loss itself goes over its batch as often as it likes.
    passes = (trainer.learn.passes - before) / (timed.warmup.calls * period + samples.calls)
    measurements = [
        *timings("step_latency_s", samples),
        *timed.steadiness(),
        Measurement("first_call_s", first_call_s),
        _throughput(samples, passes, trainer),
        step.measured(),
        effective_batch(trainer),
        Measurement("passes_per_step", passes, n=samples.calls),
        *resident_memory(resident, trainer.ranks),
        *parts_pass(step, trainer, period, median(samples.durations_s), request),
    ]
    if request.all_passes:
        measurements += _other_passes(request, workload, trainer, step, model)
    return measurements


def _in_ranks(request: Request[StepSettings]) -> list[Measurement]:
    """Measure the time of a step that several ranks take, and what they say to each other; rank 0 records."""
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    torch.manual_seed(_SEED if settings.seed is None else settings.seed)
    model = workload.model()
    with PeakResident() as resident:
        started = time.perf_counter()
        regime = settings.regime(_PLANNED_STEPS, taken=_PLANNED_STEPS * 9 // 10)
        trainer = make_trainer(settings, workload, data, model, regime, evaluates=False)
        step = EarlyLoss(stepper(trainer), trainer.of_all)
        step()
        trainer.synchronize()
        first_call_s = time.perf_counter() - started
    timed, energy = timed_together(step, trainer, request)
    measured = [
        *communication_pass(step, trainer, timed, request),
        step.measured(),
        *resident_memory(resident, trainer.ranks),
        *device_memory(trainer.device, trainer.ranks),
    ]
    if timed is None:
        return []
    measured += [
        *timings("step_latency_s", timed.samples),
        # Of a rank that waits for others, the share of time that it had a CPU says nothing of disturbances.
        *(entry for entry in timed.steadiness() if entry.metric != "timed_cpu_over_wall"),
        *make_up(settings, trainer.ranks),
        Measurement("first_call_s", first_call_s),
        _throughput(timed.samples, 1.0, trainer),
        effective_batch(trainer),
        *_state(trainer.learn, settings.average.text, trainer.learn.averaged),
        *energy,
    ]
    if request.all_passes:
        measured += _flops_of_batch(request, workload, trainer)
    return measured


def _flops_of_batch(
    request: Request[StepSettings], workload: Workload, trainer: Trainer
) -> list[Measurement]:
    """Count the operations of a step on a whole batch: those of all ranks together, as one device's."""
    model = workload.model().to(trainer.device)
    chosen = next(shuffled_batches(len(trainer.data.train_inputs), trainer.batch_size, _SEED))
    targets = trainer.data.train_targets[chosen].to(trainer.device)
    optimizer = build(request.settings.optimizer, model)
    return _flops(model, workload, trainer.inputs(chosen), targets, optimizer)


def _throughput(samples: Samples, passes: float, trainer: Trainer) -> Measurement:
    rate = samples.calls * passes * trainer.samples_per_batch / samples.elapsed_s
    return Measurement("step_throughput", rate, n=samples.calls)


def stepper(trainer: Trainer) -> Callable[[], torch.Tensor]:
    """Return a call that takes the next step, its choice of samples included."""
    batches = shuffled_batches(len(trainer.data.train_inputs), trainer.batch_size, _SEED)

    def step() -> torch.Tensor:
        return trainer.step(next(batches))

    return step


def repeated(step: Callable[[], object], times: int) -> Callable[[], object]:
    """Return a call that takes so many steps: as many as an optimizer needs to do all of its work once."""
    if times == 1:
        return step

    def steps() -> None:
        for _ in range(times):
            step()

    return steps


def _other_passes(
    request: Request[StepSettings],
    workload: Workload,
    trainer: Trainer,
    step: Callable[[], object],
    model: torch.nn.Module,
) -> list[Measurement]:
    ours = trainer.learn.optimizer
    gpu = gpu_pass(step, trainer.synchronize, request)  # first: what counts FLOPs leaves its memory behind
    seen = trainer.device.type == "cpu" and ours is not None
    # From the start of the data: the clock's pass ends anywhere, and each epoch has a new order in memory.
    steps = repeated(stepper(trainer), 1 if ours is None else period_of(ours))
    averaged = trainer.learn.averaged if request.settings.average.name != NONE else ()
    peak = tensors.step_memory(steps, model, ours, kept=averaged) if seen else None
    chosen = next(shuffled_batches(len(trainer.data.train_inputs), trainer.batch_size, _SEED))
    inputs = trainer.inputs(chosen)
    targets = trainer.data.train_targets[chosen].to(trainer.device)
    # Of a runtime that brings its own optimizers, PyTorch's of that name says how many operations it takes.
    optimizer = ours or build(request.settings.optimizer, model)
    return [
        *_state(trainer.learn, request.settings.average.text, averaged),
        *_groups(
            request.settings.optimizer,
            optimizer,
            model,
            tensors.storage_bytes(averaged),
            ours=ours is not None,
        ),
        Measurement("least_bytes_moved", step_bytes(model, inputs, optimizer, averaged)),
        *_memory(peak, _unseen_memory(peak, seen)),
        *_flops(model, workload, inputs, targets, optimizer, "" if ours else "; of the step in PyTorch"),
        *gpu,
        *device_pass(step, trainer.device),
        energy_pass(step, trainer.synchronize, request),
    ]


def _state(learn: TrainingStep, average: str, averaged: Sequence[torch.Tensor]) -> Iterator[Measurement]:
    """Yield the bytes of what is kept from step to step: by the optimizer, and as an average of weights."""
    kept = tensors.storage_bytes(averaged)
    if averaged:
        yield Measurement("average_bytes", kept, n=len(averaged), method=average)
    if learn.optimizer is not None:
        yield Measurement("optimizer_state_bytes", tensors.optimizer_state_bytes(learn.optimizer) + kept)
    elif isinstance(learn, KeepsState):
        how = "of the runtime's own optimizer"
        yield Measurement("optimizer_state_bytes", learn.state_bytes() + kept, method=how)
    else:
        yield Measurement("optimizer_state_bytes", None, reason="this runtime has its own optimizer")


def _groups(
    technique: Technique[OptimizerRow],
    optimizer: torch.optim.Optimizer,
    model: torch.nn.Module,
    average_bytes: int,
    *,
    ours: bool,
) -> list[Measurement]:
    """Measure the state by theory, and which parameters are in which group of the optimizer.

    Of a runtime that brings its own optimizer, theory and groups are those of PyTorch's of that name.
    """
    groups = grouped(optimizer, model, technique.name)
    shapes = {label: list(own.values()) for label, own in groups.items()}
    theory = technique.row.state_bytes(shapes, technique.settings)
    reason = "" if theory is not None else "the optimizer's row declares none"
    theory = None if theory is None else theory + average_bytes
    surplus = technique.row.surplus_bytes(shapes, technique.settings) if ours else 0
    beyond = f"measured are {surplus:,} bytes more: {technique.row.surplus_about}" if surplus else ""
    how = variant_of(optimizer) if ours else "the runtime's own"
    return [
        Measurement("optimizer_state_theory_bytes", theory, method=beyond, reason=reason),
        *(
            Measurement(
                "optimizer_parameters",
                sum(shape.elements for shape in own.values()),
                n=len(own),
                qualifier=label,
                method=": ".join(part for part in (how, ", ".join(own)) if part),
            )
            for label, own in groups.items()
        ),
    ]


def _unseen_memory(peak: tensors.StepMemory | None, of_cpu: bool) -> str:
    if not of_cpu:
        return "the runtime's tensors are not in PyTorch's CPU memory: see the resident or the device's peak"
    return "" if peak is not None else tensors.OTHER_THREADS


def _memory(peak: tensors.StepMemory | None, reason: str) -> list[Measurement]:
    parts = {
        "peak_tensor_bytes": "peak",
        "peak_weights_bytes": "weights",
        "peak_gradients_bytes": "gradients",
        "peak_optimizer_bytes": "optimizer_state",
        "peak_activations_bytes": "activations",
    }
    method = "profiler's memory events"
    return [
        Measurement(metric, None if peak is None else getattr(peak, part), method=method, reason=reason)
        for metric, part in parts.items()
    ]


def _flops(
    model: torch.nn.Module,
    workload: Workload,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    of_what: str = "",
) -> list[Measurement]:
    try:
        counted = flops.count_step(model, workload.loss, inputs, targets, optimizer)
    except Exception as error:  # a counter may fail on a step that runs otherwise
        return uncounted(*(f"{part}_flops" for part in STEP_PARTS), reason=error)
    found = flop_measurements(**{f"{part}_flops": getattr(counted, part) for part in STEP_PARTS})
    return [replace(entry, method=f"{entry.method}{of_what}") if entry.method else entry for entry in found]


def uncounted(*metrics: str, reason: Exception) -> list[Measurement]:
    """Return the metrics of a failed count: unknown, with the reason."""
    what = (
        f"could not be counted: {type(reason).__name__}: {str(reason).splitlines()[0] if str(reason) else ''}"
    )
    return [
        *(Measurement(metric, None, reason=what[:200]) for metric in metrics),
        Measurement("flops_complete", 0.0, reason=what[:200]),
    ]


def flop_measurements(**counts: flops.FlopCount) -> list[Measurement]:
    """Return counts as measurements, by their metrics, and whether every operator in them has a formula."""
    unknown = sorted({name for counted in counts.values() for name in counted.unknown})
    reason = f"no formula for {', '.join(unknown)}" if unknown else ""
    return [
        *(_flop_measurement(metric, counted) for metric, counted in counts.items()),
        Measurement("flops_complete", float(not unknown), reason=reason),
    ]


def _flop_measurement(metric: str, counted: flops.FlopCount) -> Measurement:
    return Measurement(
        metric, counted.total, method="operators counted by formula", reason=incomplete(counted)
    )


def incomplete(counted: flops.FlopCount) -> str:
    """Return what a count lacks; empty if it is complete."""
    return f"incomplete: no formula for {', '.join(counted.unknown)}" if counted.unknown else ""
