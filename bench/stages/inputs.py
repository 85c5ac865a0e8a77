"""What stages begin with: the workload, its data, the backend, all by the names in the request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from bench.instruments.copies import copy_of
from bench.instruments.structure import observe
from bench.models.training import Trainer, shuffled_batches
from bench.records import ANY_BATCH, STRUCTURE, Measurement, Request
from bench.results.artifacts import artifact_folder
from bench.workloads.checks import checked_loss
from bench.workloads.loading import example_batch
from bench.workloads.workload import Data, Workload
from techniques.backends import BACKENDS
from techniques.backends.protocol import Backend, Numerics
from techniques.optimizers import OPTIMIZERS

CALIBRATION_SAMPLES = 256
_CALIBRATION_BATCH = 64
_CALIBRATION_SEED = 0

ROTATING = 4


def load_backend(settings: Mapping[str, Any]) -> Backend:
    """Return the backend that the request names."""
    backend: Backend = BACKENDS.parse(settings["backend"]).create()
    return backend


def numerics(settings: Mapping[str, Any]) -> Numerics:
    """Return the format and precision that the request names."""
    return Numerics(settings["format"], settings["precision"])


def parent_folder(request: Request, role: str) -> Path:
    """Return the folder of the artifact that plays this role."""
    return artifact_folder(Path(request.results), request.parents[role])


def rotating_batches(workload: Workload, data: Data, batch_size: int) -> list[torch.Tensor]:
    """Return the batches that a timing takes in turn, so that nothing kept from the last call serves it."""
    return [example_batch(workload, data, batch_size, number) for number in range(ROTATING)]


def calibration_batches(workload: Workload, data: Data, least: int = 0) -> Iterator[torch.Tensor]:
    """Yield batches of training inputs, the same ones each time, never test inputs.

    They have `CALIBRATION_SAMPLES` samples, or `least` if that is more, as a batch is that is to be served.
    """
    samples = len(data.train_inputs)
    batches = shuffled_batches(samples, _CALIBRATION_BATCH, _CALIBRATION_SEED)
    enough = -(-least // min(samples, _CALIBRATION_BATCH))
    for _ in range(max(enough, CALIBRATION_SAMPLES // _CALIBRATION_BATCH)):
        yield workload.transform(data.train_inputs[next(batches)])


def structure_measurements(
    model: torch.nn.Module, batches: Iterable[torch.Tensor], folder: Path | None = None
) -> list[Measurement]:
    """Observe what a model's time depends on; unknown, its artifact shares no timing."""
    try:
        found = observe(copy_of(model).eval(), batches, folder)
    except Exception as error:  # whatever observing does to a model that runs without it
        reason = f"could not be observed: {type(error).__name__}: {error}".splitlines()[0]
        return [Measurement(STRUCTURE, None, reason=reason[:200])]
    return [
        Measurement(STRUCTURE, found.parts, method=found.digest),
        Measurement(STRUCTURE, found.parts, method=found.any_batch, qualifier=ANY_BATCH),
    ]


def make_trainer(
    settings: Mapping[str, Any], workload: Workload, data: Data, model: torch.nn.Module
) -> Trainer:
    """Return a trainer of `model` on the request's backend, with its optimizer, warmed up."""
    backend = load_backend(settings)
    learn = backend.compile_step(
        model, checked_loss(workload.loss), OPTIMIZERS.parse(settings["optimizer"]), settings["precision"]
    )
    batch_size = settings["batch_size"]
    trainer = Trainer(workload, data, learn, batch_size, backend.device, backend.synchronize)
    trainer.warm_up()
    return trainer
