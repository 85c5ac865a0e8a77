"""Train a workload's model to its target quality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from bench.instruments.memory import PeakResident
from bench.models import save_model, save_outputs
from bench.records import Measurement, Request
from bench.stages.inputs import load_workload, make_trainer
from bench.training import TrainingRecord, predict
from bench.workloads.workload import Data, Workload


def run(request: Request, folder: Path) -> list[Measurement]:
    """Leave the trained model and its eager outputs on the test set; measure the way there."""
    settings = request.settings
    workload, data = load_workload(settings)
    torch.manual_seed(settings["seed"])
    model = workload.model()
    with PeakResident() as resident:
        trainer = make_trainer(settings, workload, data, model)
        record = trainer.train(
            settings["steps"],
            settings["seed"],
            period=workload.evaluation_period(len(data.train_inputs), settings["batch_size"]),
            target=workload.target,
        )
    model.to("cpu", torch.float32)
    outputs = predict(model, workload, data.test_inputs, torch.device("cpu"))
    save_model(folder, settings["workload"], model)
    save_outputs(folder, outputs)
    return [
        *_to_target(record, workload, settings["batch_size"]),
        *_spent(record, settings["batch_size"]),
        *_curves(record, workload.quality_metric),
        *quality(workload, data, outputs),
        Measurement("peak_rss_bytes", resident.peak_bytes, method=resident.method, reason=resident.reason),
        Measurement("rss_growth_bytes", resident.growth_bytes, method=resident.method),
    ]


def quality(workload: Workload, data: Data, outputs: torch.Tensor, qualifier: str = "") -> list[Measurement]:
    """Measure every quality metric of the workload, and its first one as `quality`."""
    found: Mapping[str, float] = workload.quality(outputs, data.test_targets)
    entries = {"quality": found[workload.quality_metric], **found}
    return [
        Measurement(metric, value, n=len(outputs), qualifier=qualifier) for metric, value in entries.items()
    ]


def _to_target(record: TrainingRecord, workload: Workload, batch_size: int) -> list[Measurement]:
    crossing = record.first_crossing(workload.quality_metric, workload.target)
    reached = record.sustained(workload.quality_metric, workload.target)
    target = f"{workload.quality_metric} {workload.target:g}"
    censored = "" if reached else f"censored: {target} did not hold within {record.steps} steps"
    missed = "" if crossing else f"no evaluation met {target} within {record.steps} steps"
    steps = reached.step if reached else None
    return [
        Measurement("target_reached", float(reached is not None), method="two evaluations in a row"),
        Measurement("steps_to_target", steps, reason=censored),
        Measurement("steps_to_first_crossing", crossing.step if crossing else None, reason=missed),
        Measurement("samples_to_target", steps * batch_size if steps else None, reason=censored),
        Measurement(
            "time_to_target_s", reached.seconds if reached else None, method="clock", reason=censored
        ),
    ]


def _spent(record: TrainingRecord, batch_size: int) -> list[Measurement]:
    return [
        Measurement("steps_trained", record.steps),
        Measurement("training_s", record.training_s, method="clock, evaluation excluded"),
        Measurement("evaluation_s", record.evaluation_s, method="clock"),
        Measurement(
            "train_throughput", record.steps * batch_size / record.training_s, n=record.steps, method="clock"
        ),
    ]


def _curves(record: TrainingRecord, quality_metric: str) -> list[Measurement]:
    points = record.evaluations
    curves = {
        "curve_step": [float(point.step) for point in points],
        "curve_seconds": [point.seconds for point in points],
        "curve_loss": [point.loss for point in points],
        "curve_quality": [point.quality[quality_metric] for point in points],
    }
    return [
        Measurement("loss", points[-1].loss),
        *(
            Measurement(metric, values[-1], n=len(values), samples=tuple(values))
            for metric, values in curves.items()
        ),
    ]
