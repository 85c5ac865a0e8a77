"""Loads what stages start with: workload, data and backend, by the names in the request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.instruments.copies import copy_of
from bench.instruments.structure import observe
from bench.models.parallel_training import ParallelTrainer
from bench.models.structures import read_structure
from bench.models.training import Trainer, shuffled_batches
from bench.records import ANY_BATCH, STRUCTURE, Measurement, Request
from bench.results.artifacts import artifact_folder
from bench.stages.kept import read_kept
from bench.stages.settings import TRIAL_ROLE, DevicesSettings, ServedSettings, TrainingSettings
from bench.workloads.checks import checked_loss
from bench.workloads.loading import example_batch
from bench.workloads.workload import Data, Workload
from techniques.backends.protocol import Backend, Numerics, Program
from techniques.parallel.ranks import Ranks
from techniques.parallel.step import Spread
from techniques.regime import Regime

CALIBRATION_SAMPLES = 256
_CALIBRATION_BATCH = 64
_CALIBRATION_SEED = 0

ROTATING = 4


def load_backend(settings: TrainingSettings | ServedSettings) -> Backend:
    """Return the backend that the settings name."""
    backend: Backend = settings.backend.create()
    return backend


def numerics(settings: ServedSettings) -> Numerics:
    """Return the format and precision that the settings name."""
    if settings.format is None:
        return Numerics(None, settings.precision)
    return Numerics(settings.format.name, settings.precision, settings.format.settings)


def load_lowered(backend: Backend, folder: Path, settings: ServedSettings, threads: int) -> Program:
    """Load the program in a lowered artifact's folder, for this many threads."""
    build = read_structure(folder, settings.workload).build
    return backend.load(folder, build, replace(numerics(settings), kept=read_kept(folder)), threads)


def parent_folder(request: Request[Any], role: str) -> Path:
    """Return the folder of the artifact that plays this role."""
    return artifact_folder(Path(request.results), request.parents[role])


def trial_folders(request: Request[Any]) -> list[Path]:
    """Return the folders of the trials that a stage goes by, none where it has none."""
    return [parent_folder(request, role) for role in request.parents if role.startswith(TRIAL_ROLE)]


def rotating_batches(workload: Workload, data: Data, batch_size: int) -> list[torch.Tensor]:
    """Return the batches that a timing rotates through, so that no call finds its inputs in a cache."""
    return [example_batch(workload, data, batch_size, number) for number in range(ROTATING)]


def calibration_batches(workload: Workload, data: Data, least: int = 0) -> Iterator[torch.Tensor]:
    """Yield batches of training inputs, the same ones each time, never test inputs.

    They have `CALIBRATION_SAMPLES` samples, or `least` if that is more, as a batch is that is to be served.
    """
    for chosen in _calibration_samples(len(data.train_inputs), least):
        yield workload.transform(data.train_inputs[chosen])


def labelled_batches(workload: Workload, data: Data) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the batches of `calibration_batches` with their targets."""
    for chosen in _calibration_samples(len(data.train_inputs)):
        yield workload.transform(data.train_inputs[chosen]), data.train_targets[chosen]


def _calibration_samples(samples: int, least: int = 0) -> Iterator[torch.Tensor]:
    batches = shuffled_batches(samples, _CALIBRATION_BATCH, _CALIBRATION_SEED)
    enough = -(-least // min(samples, _CALIBRATION_BATCH))
    for _ in range(max(enough, CALIBRATION_SAMPLES // _CALIBRATION_BATCH)):
        yield next(batches)


def structure_measurements(
    model: torch.nn.Module, batches: Iterable[torch.Tensor], folder: Path | None = None
) -> list[Measurement]:
    """Observe the structure that decides a model's time; if it is unknown, the artifact shares no timing."""
    try:
        found = observe(copy_of(model).eval(), batches, folder)
    except Exception as error:  # observing may fail on a model that runs otherwise
        reason = f"could not be observed: {type(error).__name__}: {error}".splitlines()[0]
        return [Measurement(STRUCTURE, None, reason=reason[:200])]
    return [
        Measurement(STRUCTURE, found.parts, method=found.digest),
        Measurement(STRUCTURE, found.parts, method=found.any_batch, qualifier=ANY_BATCH),
    ]


def make_trainer(
    settings: TrainingSettings,
    workload: Workload,
    data: Data,
    model: torch.nn.Module,
    regime: Regime,
    *,
    evaluates: bool = True,
) -> Trainer:
    """Return a trainer of `model` on the settings' backend, with its optimizer and regime, warmed up.

    On several devices it is that of this process's rank. One that never `evaluates` keeps no model with all
    weights in one place.
    """
    backend = load_backend(settings)
    # A plug-in's backend need not know of regimes, nor of several devices.
    own: dict[str, Any] = {} if regime.plain else {"regime": regime}
    kind: type[Trainer] = Trainer
    if isinstance(settings, DevicesSettings) and settings.devices > 1:
        kind, trained = ParallelTrainer, model
        if evaluates:
            model = copy_of(trained)
            trained.to(backend.device)
        ranks, plan = Ranks.here(backend.device), workload.tensor_plan
        own["spread"] = Spread(settings.parallel, ranks, plan, trained if evaluates else None)
    make = partial(backend.compile_step, model, checked_loss(workload.loss))
    learn = make(settings.optimizer, settings.precision, **own)
    trainer = kind(workload, data, learn, settings.batch_size, backend.device, backend.synchronize)
    trainer.warm_up()
    return trainer
