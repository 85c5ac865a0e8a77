"""Apply one step of a compression recipe to a model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from bench.errors import StageError
from bench.instruments.tensors import parameter_counts
from bench.models.files import load_model, load_outputs, save_model, save_outputs
from bench.models.predictions import Predictions
from bench.models.structures import Structure, read_structure
from bench.models.training import predict
from bench.records import Measurement, Request
from bench.stages.inputs import calibration_batches, labelled_batches, make_trainer, parent_folder
from bench.stages.settings import CompressSettings
from bench.stages.taught import taught_by, teacher_of
from bench.stages.train import quality
from bench.stages.tuned import as_tuned
from bench.workloads.checks import checked_loss
from bench.workloads.loading import example_batch, load_workload
from bench.workloads.workload import Data, Workload
from techniques.compression.context import TaughtLoss
from techniques.numbers import as_taken, widened_weights

_CPU = torch.device("cpu")
_CHECKED = 64


@dataclass
class StageContext:
    """What a compression step may use: data, students, the training loop, quality measurements.

    `structure` is that of the model at hand; asking for a student replaces it. `measuring_s` are the seconds
    that qualities along the way took: no part of what compressing costs.
    """

    request: Request[CompressSettings]
    workload: Workload
    data: Data
    structure: Structure
    notes: list[Measurement] = field(default_factory=list)
    training_s: float = 0.0
    measuring_s: float = 0.0
    steps: int = 0

    @property
    def example(self) -> torch.Tensor:
        return example_batch(self.workload, self.data, self.workload.fixed_batch or 1)

    @property
    def seed(self) -> int:
        return self.request.settings.seed

    def calibration(self) -> Iterator[torch.Tensor]:
        return calibration_batches(self.workload, self.data)

    def note_quality(self, moment: str, model: torch.nn.Module) -> None:
        started = time.perf_counter()
        outputs = predict(model, self.workload, self.data.test_inputs, _CPU)
        self.notes += quality(self.request.settings, self.data, outputs, moment)
        self.measuring_s += time.perf_counter() - started

    def losses(self, model: torch.nn.Module) -> Iterator[torch.Tensor]:
        loss = checked_loss(self.workload.loss)
        for inputs, targets in labelled_batches(self.workload, self.data):
            yield loss(model.eval()(as_taken(model, inputs)), targets)

    def recover(self, model: torch.nn.Module, part: int = 0, parts: int = 1) -> None:
        # Not the order that training began with: recovery sees the data in a new order.
        settings = self.request.settings
        steps = settings.recover_steps * (part + 1) // parts - settings.recover_steps * part // parts
        if steps:
            self._train(model, self.workload, self.data, steps, order=settings.seed + 1 + part)

    def student(self, width: float = 1.0, depth: float = 1.0, into: str = "") -> torch.nn.Module:
        own = self.request.settings.workload
        if into:
            self.structure = Structure(own, into=into)
        else:
            self.structure = Structure(own, width) if depth == 1 else Structure(own, depth=depth)
        torch.manual_seed(self.request.settings.seed)
        return self.structure.build()

    def teach(self, student: torch.nn.Module, loss: TaughtLoss | None) -> None:
        workload, data = self.workload, self.data
        if loss is not None:
            parent, kept = parent_folder(self.request, "model"), parent_folder(self.request, "teacher")
            outputs, kind = load_outputs(kept), load_outputs(parent).kind
            teacher = teacher_of(
                outputs, partial(load_model, parent, self.request.settings.workload), workload, data
            )
            workload, data = taught_by(teacher, outputs.main_name, kind, loss, workload, data)
        settings = self.request.settings
        self._train(student, workload, data, settings.student_steps, order=settings.seed)

    def trained(self) -> list[Measurement]:
        """Return how long the step trained, all its parts together; nothing of one that did not."""
        if not self.steps:
            return []
        return [
            Measurement("training_s", self.training_s, method="clock"),
            Measurement("steps_trained", self.steps),
        ]

    def _train(self, model: torch.nn.Module, workload: Workload, data: Data, steps: int, order: int) -> None:
        settings = self.request.settings
        torch.manual_seed(settings.seed)
        trainer = make_trainer(settings, workload, data, model, settings.regime(steps))
        record = trainer.train(steps, order)
        widened_weights(model.to(_CPU))
        self.training_s += record.training_s
        self.steps += record.steps


def run(request: Request[CompressSettings], folder: Path) -> list[Measurement]:
    """Write the compressed and recovered model; measure its quality before, between and after."""
    workload, data = load_workload(request.settings.workload, request.settings.test_samples)
    parent = parent_folder(request, "model")
    request = replace(request, settings=as_tuned(request.settings, parent, folder))
    context = StageContext(request, workload, data, read_structure(parent, request.settings.workload))
    context.notes += quality(request.settings, data, load_outputs(parent), "before")
    technique = request.settings.technique
    model = load_model(parent, request.settings.workload)
    started = time.perf_counter()
    model = technique.create(model, context)
    compression_s = time.perf_counter() - started - context.measuring_s
    kind = load_outputs(parent).kind
    outputs = replace(predict(model, workload, data.test_inputs, _CPU), kind=kind)
    save_model(folder, context.structure.edited(model), model)
    _check_reload(folder, workload, data, outputs)
    save_outputs(folder, outputs)
    parameters, nonzero = parameter_counts(model)
    return [
        *context.notes,
        Measurement("compression_s", compression_s, method="clock"),
        *context.trained(),
        *quality(request.settings, data, outputs, "recovered"),
        Measurement("parameters", parameters),
        Measurement("nonzero_parameters", nonzero),
    ]


def _check_reload(folder: Path, workload: Workload, data: Data, outputs: Predictions) -> None:
    """Raise StageError if the saved model differs from the measured one."""
    few = min(len(outputs.main), _CHECKED)
    again = predict(load_model(folder), workload, data.test_inputs[:few], _CPU)
    pairs = zip(again.tensors.values(), outputs.first(few).tensors.values(), strict=True)
    if not all(torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True) for one, other in pairs):
        raise StageError("the saved model gives different outputs after loading")
