"""Train a workload's model to its target quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.identity.loaded import load_and_note
from bench.instruments.copies import copy_of
from bench.instruments.memory import PeakResident
from bench.models.files import save_model, save_outputs
from bench.models.predictions import Predictions
from bench.models.structures import Structure
from bench.models.training import EVALUATION_BATCH, Goal, Trainer, TrainingRecord, batch_at, predict
from bench.records import Measurement, Request
from bench.stages.inputs import make_trainer, structure_measurements
from bench.stages.resident import make_up, resident_memory
from bench.stages.settings import TrainSettings, WorkloadSettings
from bench.stages.tuned import tuned
from bench.workloads.loading import example_batch, find_workload
from bench.workloads.onnx_model import OnnxModel
from bench.workloads.output_kinds import OutputKind
from bench.workloads.recognition import kind_of_given, kind_of_loss, kind_of_training, last_operator
from bench.workloads.workload import Data, Workload
from techniques.numbers import as_taken, tensors_of, weight_types, widened_weights
from techniques.regime import NONE, Regime

_CPU = torch.device("cpu")


def run(request: Request[TrainSettings], folder: Path) -> list[Measurement]:
    """Write the trained model and its eager outputs on the test set; measure the training.

    All that training decides it decides by the validation set: the test set is read once, after it.
    """
    settings, choice = tuned(request, folder)
    workload, data, model = load_and_note(settings.workload, settings.seed, settings.test_samples)
    if workload.quality is None:
        return _as_given(settings, data, model, workload, folder)
    goal = goal_of(settings, data, bounded=not request.smoke)
    kind = _kind(workload, data, model)
    with PeakResident() as resident:
        trainer = make_trainer(settings, workload, data, model, settings.regime(settings.steps))
        record = trainer.train(settings.steps, settings.seed, goal)
    memory = resident_memory(resident, trainer.ranks)
    if not trainer.ranks.first:
        return memory  # rank 0 has the trained weights, and records
    widened_weights(model.to("cpu"))
    outputs = replace(predict(model, workload, data.test_inputs, _CPU), kind=kind)
    save_model(folder, Structure(settings.workload), model)
    save_outputs(folder, outputs)
    return [
        *choice,
        *to_target(record, goal),
        *spent(record),
        effective_batch(trainer),
        *_samples(data),
        *curves(record, goal.metric, settings.regime(settings.steps)),
        *_clipping(settings, trainer),
        Measurement("evaluation_period", goal.period),
        *(measured := quality(settings, data, outputs)),
        *_on_validation(record, goal, data, measured[0]),
        *_left_out(outputs),
        *_beside(workload, data, model),
        *structure_measurements(
            model, [as_taken(model, example_batch(workload, data, workload.fixed_batch or 1))]
        ),
        *make_up(settings, trainer.ranks),
        *memory,
    ]


def goal_of(settings: TrainSettings, data: Data, *, bounded: bool = True) -> Goal:
    """Return what a training is for, and how often it looks."""
    per_batch = min(settings.batch_size, len(data.train_inputs))
    period = max(1, len(data.train_inputs) // (per_batch * settings.evaluations_per_epoch))
    return Goal(settings.quality_metric, settings.target, period, settings.stops_at_target, bounded)


def _as_given(
    settings: TrainSettings, data: Data, model: torch.nn.Module, workload: Workload, folder: Path
) -> list[Measurement]:
    """Write a model without training it: the reference for everything made from it."""
    types = weight_types(model)
    outputs = predict(widened_weights(model), workload, data.test_inputs, _CPU)
    kind = kind_of_given(
        workload.outputs, outputs.main, lambda: _last_operator(model, workload, data, outputs)
    )
    save_model(folder, Structure(settings.workload), model)
    save_outputs(folder, replace(outputs, kind=kind))
    method = f"the model that was given; outputs are {kind.text}: {kind.basis}"
    return [
        Measurement("quality", 1.0, n=len(data.test_inputs), method=method),
        *_left_out(outputs),
        *_reference(types, model),
    ]


def _kind(workload: Workload, data: Data, model: torch.nn.Module) -> OutputKind:
    """Return the kind of a model's outputs: by its loss, else by the outputs of the untrained model."""
    known = kind_of_loss(workload)
    if known is not None:
        return known
    samples = data.validation
    assert samples is not None, "what is trained has validation data"
    # From the whole set, which may be sorted by label.
    count = len(samples.inputs)
    some = torch.linspace(0, count - 1, min(EVALUATION_BATCH, count)).long()
    with torch.random.fork_rng(devices=[]):
        copy = copy_of(model).eval()
        outputs = predict(copy, workload, samples.inputs[some], _CPU)
        return kind_of_training(
            workload.outputs,
            outputs.main,
            samples.targets[some],
            lambda: _last_operator(copy, workload, data, outputs),
        )


def _last_operator(model: torch.nn.Module, workload: Workload, data: Data, outputs: Predictions) -> str:
    if isinstance(model, OnnxModel):
        return model.last_operator(outputs.main_name)
    batch = batch_at(workload, data.test_inputs)[: workload.fixed_batch or 1]
    model = copy_of(model)  # it may keep what it computes
    return last_operator(model, as_taken(model, workload.transform(batch)), outputs.main_name)


def _left_out(outputs: Predictions) -> list[Measurement]:
    """Name the outputs that are not compared, if any."""
    if not outputs.left_out:
        return []
    return [Measurement("outputs_left_out", len(outputs.left_out), method=", ".join(outputs.left_out))]


def _reference(types: Sequence[str], model: torch.nn.Module) -> list[Measurement]:
    """Return the number format of the reference outputs."""
    floats = [torch.finfo(tensor.dtype).bits for tensor in tensors_of(model)]
    if not floats:
        return []
    method = f"weights are {', '.join(types)}"
    return [Measurement("reference_bits", max(floats), method=method)]


def _beside(workload: Workload, data: Data, model: torch.nn.Module) -> list[Measurement]:
    """Measure the baseline without training, and metrics that are too slow for each evaluation."""
    finish = workload.finish(model, data) if workload.finish else {}
    return [
        *(
            Measurement("baseline_quality", value, qualifier=name)
            for name, value in workload.baselines(data).items()
        ),
        *(Measurement(metric, value, n=len(data.test_inputs)) for metric, value in finish.items()),
    ]


def quality(
    settings: WorkloadSettings, data: Data, outputs: Predictions, qualifier: str = ""
) -> list[Measurement]:
    """Measure every quality metric of the workload; the metric of its target is also `quality`."""
    measure = find_workload(settings.workload).quality
    if measure is None:
        return []
    found = measure(outputs.as_returned, data.test_targets)
    entries = {"quality": found[settings.quality_metric], **found}
    return [_known(metric, value, len(data.test_inputs), qualifier) for metric, value in entries.items()]


def _known(metric: str, value: float, n: int, qualifier: str) -> Measurement:
    if math.isnan(value):
        return Measurement(metric, None, n=n, qualifier=qualifier, reason="not a number (NaN)")
    return Measurement(metric, value, n=n, qualifier=qualifier)


def to_target(record: TrainingRecord, goal: Goal) -> list[Measurement]:
    """Measure when the target was first met, and when it came to hold, between evaluations."""
    points, first, held = record.evaluations, record.first_crossing(goal), record.crossing(goal)
    target = f"{goal.metric} {goal.target:g}"
    censored = "" if held else f"censored: {target} did not hold within {record.steps} steps"
    missed = "" if first else f"no evaluation met {target} within {record.steps} steps"

    def when(metric: str, clock: list[float], method: str) -> Measurement:
        return Measurement(metric, held.on(clock) if held else None, method=method, reason=censored)

    steps = [float(point.step) for point in points]
    how = "at the first evaluation, or before" if held and held.at_first else "between evaluations"
    return [
        Measurement("target_reached", float(held is not None), method="two evaluations in a row"),
        when("steps_to_target", steps, how),
        Measurement("steps_to_target_on_grid", steps[held.position] if held else None, reason=censored),
        Measurement("steps_to_first_crossing", first.step if first else None, reason=missed),
        when("samples_to_target", [float(point.samples) for point in points], how),
        when("time_to_target_s", [point.seconds for point in points], f"clock, {how}"),
    ]


def effective_batch(trainer: Trainer) -> Measurement:
    """Measure the effective batch size, and how a batch is processed."""
    fewer = trainer.samples_per_batch < trainer.batch_size
    small = f"batches of {trainer.batch_size} were requested; the training set has fewer samples"
    method = "; ".join(part for part in (small if fewer else "", trainer.learn.method) if part)
    return Measurement("effective_batch_size", trainer.samples_per_batch, method=method)


def _samples(data: Data) -> list[Measurement]:
    assert data.validation is not None, "what is trained has validation data"
    return [
        Measurement("training_samples", len(data.train_inputs), method="; ".join(data.notes)),
        Measurement("validation_samples", len(data.validation.inputs)),
        Measurement("test_samples", len(data.test_inputs)),
    ]


def _on_validation(record: TrainingRecord, goal: Goal, data: Data, on_test: Measurement) -> list[Measurement]:
    """Measure the last evaluation's quality, of the weights that are kept, and its excess over the test's."""
    assert data.validation is not None, "what is trained has validation data"
    last, n = record.evaluations[-1].quality[goal.metric], len(data.validation.inputs)
    gap = None if on_test.value is None else last - on_test.value
    return [
        Measurement("validation_quality", last, n=n),
        Measurement("validation_gap", gap, n=n, reason=on_test.reason),
    ]


def spent(record: TrainingRecord) -> list[Measurement]:
    """Measure what a training took."""
    rate = record.samples / record.training_s if record.training_s else None
    return [
        Measurement("steps_trained", record.steps),
        Measurement("training_s", record.training_s, method="clock, evaluation excluded"),
        Measurement("evaluation_s", record.evaluation_s, method="clock"),
        Measurement("train_throughput", rate, n=record.steps, method="clock"),
    ]


def _clipping(settings: TrainSettings, trainer: Trainer) -> list[Measurement]:
    """Measure how often gradients were clipped, and their norms before."""
    if settings.clip.name == NONE:
        return []
    found = trainer.learn.clipping()
    method = f"clip {settings.clip.text}"
    if found is None:
        names = ("clip_binding_share", "gradient_norm_median", "gradient_norm_max")
        reason = "no step had finite gradients"
        return [Measurement(name, None, method=method, reason=reason) for name in names]
    return [
        Measurement("clip_binding_share", found.share, n=found.steps, method=method),
        Measurement("gradient_norm_median", found.median_norm, n=found.steps, method=method),
        Measurement("gradient_norm_max", found.max_norm, n=found.steps, method=method),
    ]


def curves(record: TrainingRecord, quality_metric: str, regime: Regime) -> list[Measurement]:
    """Measure the curves of a training that came to an evaluation."""
    points = record.evaluations
    curves = {
        "curve_step": [float(point.step) for point in points],
        "curve_seconds": [point.seconds for point in points],
        "curve_loss": [point.loss for point in points],
        "curve_quality": [point.quality[quality_metric] for point in points],
        "curve_rate": [regime.factor(point.step - 1) for point in points],
    }
    return [
        Measurement("loss", points[-1].loss),
        *(
            Measurement(metric, values[-1], n=len(values), samples=tuple(values))
            for metric, values in curves.items()
        ),
    ]
