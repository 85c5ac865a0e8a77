"""Apply one step of a compression recipe to a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bench.instruments.tensors import parameter_counts
from bench.models import load_model, load_outputs, save_model, save_outputs
from bench.records import Measurement, Request
from bench.stages.inputs import (
    calibration_batches,
    example_batch,
    load_workload,
    make_trainer,
    parent_folder,
)
from bench.stages.train import quality
from bench.training import predict
from bench.workloads.workload import Data, Workload
from techniques.compression import COMPRESSIONS

_CPU = torch.device("cpu")


@dataclass
class StageContext:
    """The run's side of a compression step: data, recovery by the one training loop, notes of quality."""

    request: Request
    workload: Workload
    data: Data
    notes: list[Measurement] = field(default_factory=list)

    @property
    def example(self) -> torch.Tensor:
        return example_batch(self.workload, self.data, 1)

    def calibration(self) -> Iterator[torch.Tensor]:
        return calibration_batches(self.workload, self.data)

    def note_quality(self, moment: str, model: torch.nn.Module) -> None:
        outputs = predict(model, self.workload, self.data.test_inputs, _CPU)
        self.notes += quality(self.request.settings, self.data, outputs, moment)

    def recover(self, model: torch.nn.Module) -> None:
        settings = self.request.settings
        torch.manual_seed(settings["seed"])
        trainer = make_trainer(settings, self.workload, self.data, model)
        # Not the order that training began with: recovery sees the data anew.
        record = trainer.train(settings["recover_steps"], settings["seed"] + 1)
        model.to(_CPU, torch.float32)
        self.notes.append(Measurement("training_s", record.training_s, method="clock"))
        self.notes.append(Measurement("steps_trained", record.steps))


def run(request: Request, folder: Path) -> list[Measurement]:
    """Leave the changed and recovered model; measure its quality before, between and after."""
    workload, data = load_workload(request.settings)
    parent = parent_folder(request, "model")
    context = StageContext(request, workload, data)
    context.notes += quality(request.settings, data, load_outputs(parent), "before")
    technique = COMPRESSIONS.parse(request.settings["technique"])
    model: torch.nn.Module = technique.create(load_model(parent, workload), context)
    outputs = predict(model, workload, data.test_inputs, _CPU)
    save_model(folder, request.settings["workload"], model)
    save_outputs(folder, outputs)
    parameters, nonzero = parameter_counts(model)
    return [
        *context.notes,
        *quality(request.settings, data, outputs, "recovered"),
        Measurement("parameters", parameters),
        Measurement("nonzero_parameters", nonzero),
    ]
