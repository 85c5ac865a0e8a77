"""What training and serving a model will cost: the question, and the answer with all its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bench.matrix.file import Prices
from bench.projection.amounts import Range
from bench.projection.cost import Charges, Cost, cost_of
from bench.projection.devices import Device
from bench.projection.duration import StepTime, step_time
from bench.projection.footprint import Footprint, largest
from bench.projection.model import MIXED, ProjectedModel
from bench.projection.optimizer import update_of
from bench.projection.parallel import (
    Batches,
    Blocks,
    DeviceMemory,
    Parallel,
    Update,
    device_memory,
    split_batch,
)
from bench.projection.scaling import ComputeOptimal, compute_optimal
from bench.projection.serving import Server, Serving, ServingQuestion
from bench.projection.subject import Subject, active_parameters, parameters


@dataclass(frozen=True)
class Question:
    """How a model is to be trained and served. `samples` of training data are None where only a step counts.

    `batch` is that of a step on all devices, `micro_batch` what a replica takes at once.
    """

    device: Device
    batch: int = 1
    micro_batch: int | None = None
    samples: float | None = None
    precision: str = MIXED
    optimizer: str = "adamw"
    parallel: Parallel = field(default_factory=Parallel)
    checkpointing: bool = False
    device_counts: tuple[int, ...] = ()
    serving: ServingQuestion = field(default_factory=ServingQuestion)
    prices: Prices | None = None
    watts: float | None = None

    @property
    def charges(self) -> Charges:
        """Return what a device costs: at its thermal design power where no watts are said."""
        return Charges(self.prices, self.device.watts if self.watts is None else self.watts)


@dataclass(frozen=True)
class Flops:
    """FLOPs of a step on all devices, and of the whole training where its data are known.

    `recomputed` are those of checkpointing and of fused attention, which the model itself does not need.
    `six_n_d` is 6 times active parameters times tokens, `six_n_d_error` how far that is from the exact count
    of forward and backward; None where samples are no texts. `unknown` names operators without a formula.
    """

    forward: int
    backward: int
    recomputed: int
    training: float | None
    six_n_d: float | None
    six_n_d_error: float | None
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Fit:
    """What a device holds at the peak, whether that fits, and the largest micro-batch that does (0: none)."""

    device: DeviceMemory
    total_bytes: int
    available_bytes: int
    fits: bool
    largest_micro_batch: int


@dataclass(frozen=True)
class AtCount:
    """The same training on so many devices."""

    devices: int
    parallel: str
    memory_bytes: int
    fits: bool
    step: StepTime
    training_s: Range | None
    cost: Cost | None


@dataclass(frozen=True)
class Estimate:
    """The answer. `counts` has the training over device counts, `training_s` all of its steps."""

    model: str
    parameters: int
    active_parameters: int
    unit: str
    samples: float | None
    tokens: float | None
    batch: int
    micro_batch: int
    precision: str
    optimizer: str
    parallel: str
    devices: int
    checkpointing: bool
    device: str
    device_source: str
    flops: Flops
    memory: Fit
    step: StepTime
    steps: float | None
    training_s: Range | None
    cost: Cost | None
    optimal: ComputeOptimal | None
    serving: Serving
    counts: tuple[AtCount, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Training:
    """What stays the same over device counts."""

    question: Question
    footprint: Footprint
    blocks: Blocks
    update: Update

    def memory(self, parallel: Parallel, batches: Batches) -> DeviceMemory:
        peak = self.footprint.peak(batches.micro, fragmentation=self.question.device.caches)
        return device_memory(peak, self.blocks, self.update, parallel, batches)

    def step(self, parallel: Parallel, batches: Batches) -> StepTime:
        operations = batches.count * sum(self.footprint.flops(batches.micro))
        gradients = self.footprint.peak(1).all_gradients
        question = self.question
        return step_time(
            question.device,
            question.precision,
            operations,
            self.blocks,
            gradients,
            self.update,
            parallel,
            batches,
            again=question.checkpointing,
        )


def estimate(subject: Subject, question: Question) -> Estimate:
    """Project a model. Raises BenchError where it cannot run on shapes alone, and for an uneven split."""
    model = ProjectedModel(subject, question.precision, on_gpu=question.device.caches)
    model.blocks().refuse(question.parallel, subject.heads)
    footprint = model.training(checkpointing=question.checkpointing)
    update = update_of(
        question.optimizer,
        model.model,
        mixed=question.precision == MIXED,
        all_at_once=question.device.caches,
    )
    training = _Training(question, footprint, model.blocks(), update)
    batches = split_batch(question.batch, question.micro_batch, question.parallel)
    active = active_parameters(model.model, subject.experts)
    server = Server(model, question.device, question.precision, question.parallel.tp, question.charges)
    here = _at(training, question.parallel, batches)
    tokens = question.samples * subject.tokens if question.samples and subject.tokens else None
    return Estimate(
        model=subject.title,
        parameters=parameters(model.model),
        active_parameters=active,
        unit=subject.unit,
        samples=question.samples,
        tokens=tokens,
        batch=question.batch,
        micro_batch=batches.micro,
        precision=question.precision,
        optimizer=question.optimizer,
        parallel=str(question.parallel),
        devices=question.parallel.devices,
        checkpointing=question.checkpointing,
        device=question.device.name,
        device_source=question.device.source,
        flops=_flops(footprint, question, subject, active),
        memory=_fit(training, batches),
        step=here.step,
        steps=question.samples / question.batch if question.samples else None,
        training_s=here.training_s,
        cost=here.cost,
        optimal=compute_optimal(active, tokens) if subject.tokens else None,
        serving=server.serve(question.serving),
        counts=tuple(_over_counts(training)),
        notes=(*subject.notes, *_notes(question, here, subject)),
    )


def _flops(footprint: Footprint, question: Question, subject: Subject, active: int) -> Flops:
    forward, backward, again = footprint.flops(question.batch)
    steps = question.samples / question.batch if question.samples else None
    per_step = 6 * active * question.batch * subject.tokens if subject.tokens else None
    return Flops(
        forward,
        backward,
        again,
        (forward + backward) * steps if steps else None,
        None if per_step is None else float(per_step * (steps or 1)),
        None if per_step is None else per_step / (forward + backward) - 1,
        footprint.unknown,
    )


def _fit(training: _Training, batches: Batches) -> Fit:
    parallel, available = training.question.parallel, training.question.device.memory_bytes
    own = training.memory(parallel, batches)

    def fits(micro: int) -> bool:
        return training.memory(parallel, replace(batches, micro=micro)).total <= available

    return Fit(own, own.total, available, own.total <= available, largest(fits))


def _at(training: _Training, parallel: Parallel, batches: Batches) -> AtCount:
    question = training.question
    memory = training.memory(parallel, batches)
    step = training.step(parallel, batches)
    whole = step.seconds.times(question.samples / question.batch) if question.samples else None
    return AtCount(
        parallel.devices,
        str(parallel),
        memory.total,
        memory.total <= question.device.memory_bytes,
        step,
        whole,
        cost_of(whole or step.seconds, parallel.devices, question.charges),
    )


def _over_counts(training: _Training) -> Sequence[AtCount]:
    """Return the training on each count that its batch divides over evenly."""
    question, found = training.question, []
    for count in question.device_counts:
        parallel = question.parallel.over(count)
        if parallel is None or question.batch % parallel.replicas:
            continue
        own = question.batch // parallel.replicas
        micro = question.micro_batch if question.micro_batch and own % question.micro_batch == 0 else None
        found.append(_at(training, parallel, split_batch(question.batch, micro, parallel)))
    return found


def _notes(question: Question, here: AtCount, subject: Subject) -> list[str]:
    device = question.device
    notes = [f"utilization: {device.training.source}"]
    if here.devices > 1 and here.step.transfers_s is None:
        notes.append(f"the links of {device.name} are not known: time for transfers is left out")
    if question.parallel.tp > 1 and subject.heads is None:
        notes.append(f"heads are not known: tp={question.parallel.tp} is taken to divide every layer")
    if question.parallel.tp > 1:
        notes.append(f"serving: transfers between the {question.parallel.tp} devices of tp are left out")
    if device.caches:
        notes.append("the context of the device, usually 0.5 to 1 GiB, is not in its memory")
    if here.cost and here.cost.energy_j is not None and question.watts is None:
        notes.append(f"energy: {device.watts:g} W a device, its thermal design power, all of the time")
    return notes
