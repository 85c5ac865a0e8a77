"""Converts a model into a runtime's file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from bench.instruments import flops
from bench.instruments.copies import copy_of
from bench.instruments.fvcore_count import trace
from bench.instruments.onnx_flops import count_onnx
from bench.instruments.sizes import folder_bytes
from bench.instruments.tensors import parameter_counts
from bench.instruments.traffic import call_bytes
from bench.models.files import load_model, load_outputs, save_outputs
from bench.models.predictions import gathered
from bench.models.structures import read_structure
from bench.records import Measurement, Request
from bench.stages.inputs import (
    calibration_batches,
    load_backend,
    numerics,
    parent_folder,
    rotating_batches,
    structure_measurements,
)
from bench.stages.kept import kept_measurements, layers_to_keep, save_kept
from bench.stages.settings import LoweredSettings
from bench.stages.step import flop_measurements, incomplete, uncounted
from bench.workloads.loading import example_batch, load_workload
from bench.workloads.onnx_model import OnnxModel
from techniques.numbers import as_taken
from techniques.registry import CannotApply


def run(request: Request[LoweredSettings], folder: Path) -> list[Measurement]:
    """Write the runtime's file; measure its size and the model's logical operations."""
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    if workload.fixed_batch not in (None, settings.batch_size):
        raise CannotApply(
            f"the model takes batches of {workload.fixed_batch} only, not of {settings.batch_size}"
        )
    parent = parent_folder(request, "model")
    model = load_model(parent, settings.workload)
    example = as_taken(model, example_batch(workload, data, settings.batch_size))
    backend, copied = load_backend(settings), copy_of(model)

    def calibration() -> Iterator[torch.Tensor]:
        samples = calibration_batches(workload, data, settings.batch_size)
        return (as_taken(model, batch) for batch in samples)

    started = time.perf_counter()
    kept = layers_to_keep(model, settings.format, calibration)
    stored = replace(numerics(settings), kept=kept)
    backend.lower(copied, example.clone(), stored, calibration(), folder)
    lowering_s = time.perf_counter() - started
    size = folder_bytes(folder)
    # For runtimes that rebuild the model; neither is part of the shipped size.
    save_kept(folder, kept)
    read_structure(parent, settings.workload).save(folder)
    batches = [as_taken(model, batch) for batch in rotating_batches(workload, data, settings.batch_size)]
    structure = structure_measurements(model, batches, folder)
    with torch.no_grad():
        outputs = gathered((model(batch.clone()), len(batch)) for batch in batches)
    kind = load_outputs(parent).kind
    save_outputs(folder, replace(outputs, kind=kind))  # what a timing must reproduce
    of_file = isinstance(model, OnnxModel)
    one_batch = list(outputs.first(settings.batch_size).tensors.values())
    moved = None if of_file else call_bytes(model, example, one_batch, stored.format, settings.precision)
    return [
        Measurement("lowering_s", lowering_s, method="what a compiler's cache holds is not compiled again"),
        Measurement(
            "least_bytes_moved", moved, reason="the formats inside the file are not read" if of_file else ""
        ),
        Measurement("artifact_bytes", size.raw),
        Measurement("artifact_compressed_bytes", size.compressed, method=size.method),
        *structure,
        *kept_measurements(model, kept, settings.format),
        *_parameters(model),
        *_operations(model, example),
    ]


def _parameters(model: torch.nn.Module) -> list[Measurement]:
    reason = ""
    try:
        total, nonzero = model.parameter_counts() if isinstance(model, OnnxModel) else parameter_counts(model)
    except Exception as error:  # a counter may fail on weights that a runtime accepts
        return uncounted("parameters", "nonzero_parameters", reason=error)[:2]
    if nonzero is None:
        reason = "some weights are in other files"
    return [
        Measurement("parameters", total),
        Measurement("nonzero_parameters", nonzero, reason=reason),
    ]


def _operations_of_file(path: Path, example: torch.Tensor) -> list[Measurement]:
    try:
        counted = count_onnx(path, example.shape)
    except Exception as error:  # a counter may fail on a graph that a runtime accepts
        return uncounted("dense_flops", reason=error)
    return flop_measurements(dense_flops=counted)


@torch.no_grad()
def _operations(model: torch.nn.Module, example: torch.Tensor) -> list[Measurement]:
    if isinstance(model, OnnxModel):
        return _operations_of_file(model.onnx_file, example)
    try:
        dense = flops.count(lambda: model(example.clone()))
        effective = flops.effective(model, example.clone())
    except Exception as error:  # a counter may fail on a model that runs otherwise
        return uncounted("dense_flops", "effective_flops", reason=error)
    traced = trace(model, example.clone())
    return [
        *flop_measurements(dense_flops=dense),
        Measurement(
            "effective_flops", effective, method="non-zero share of each weight", reason=incomplete(dense)
        ),
        Measurement(
            "fvcore_flops",
            None if traced is None else 2 * traced.macs(),
            method="fvcore",
            reason="fvcore could not count this model" if traced is None else "",
        ),
    ]
