"""Time a lowered model on batches of one size."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.instruments import tensors
from bench.instruments.memory import PeakResident
from bench.models.files import load_outputs
from bench.models.predictions import Predictions, gathered, named_like
from bench.records import Measurement, Request
from bench.stages.evaluate import alike, judged, tolerance
from bench.stages.inputs import load_backend, load_lowered, numerics, parent_folder, rotating_batches
from bench.stages.operators import operators_pass
from bench.stages.settings import InferSettings, LoweredSettings
from bench.stages.timing import device_pass, energy_pass, gpu_pass, own_clock_pass, timed_pass, timings
from bench.workloads.loading import load_workload
from bench.workloads.workload import Workload
from techniques.backends.kernels import (
    kernels_of_format,
    kernels_of_precision,
    numbered_products,
    tells_precision,
)
from techniques.backends.protocol import Program, TorchProgram, sparing_inputs


def run(request: Request[InferSettings], folder: Path) -> list[Measurement]:
    """Measure load time, first call, latency, throughput and memory; more passes in the first launch."""
    settings = request.settings
    workload, data = load_workload(settings.workload, settings.test_samples)
    batches = rotating_batches(workload, data, settings.batch_size)
    untouched = batches[0].clone()
    backend = load_backend(settings)
    lowered = parent_folder(request, "lowered")
    with PeakResident() as resident:
        started = time.perf_counter()
        program = load_lowered(backend, lowered, settings, request.threads)
        backend.synchronize()
        loaded = time.perf_counter()
        prepared = [program.prepare(batch) for batch in batches]
        called = time.perf_counter()
        program(prepared[0])
        backend.synchronize()
        first_call_s = time.perf_counter() - called
    program = sparing_inputs(program, untouched)
    prepared[0] = program.prepare(untouched)
    turn = itertools.cycle(prepared).__next__

    def call() -> object:
        return program(turn())

    timed = timed_pass(call, backend.synchronize, request)
    samples = timed.samples
    own_clock = own_clock_pass(call, program, request)
    own = load_outputs(lowered)
    outputs = served(program, prepared, own, len(batches[0]))
    measurements = [
        *timings("latency_s", samples),
        *timed.steadiness(),
        *own_clock,
        Measurement(
            "throughput",
            samples.calls * len(batches[0]) / samples.elapsed_s,
            n=samples.calls,
            method=_repeated(len(data.test_inputs), len(batches[0])),
        ),
        _judged(outputs, own, workload, settings),
        *_copied_inputs(program),
        Measurement("load_s", loaded - started),
        Measurement("first_call_s", first_call_s),
        Measurement("peak_rss_bytes", resident.peak_bytes, method=resident.method, reason=resident.reason),
        Measurement(
            "rss_growth_bytes", resident.growth_bytes, method=resident.method, reason=resident.reason
        ),
    ]
    if request.all_passes:
        measurements += [
            _peak_tensors(program, prepared[0]),
            *gpu_pass(call, backend.synchronize, request),
            *device_pass(call, backend.device, getattr(program, "stream", None)),
            energy_pass(call, backend.synchronize, request),
            *_kernels(program.kernels(prepared[0]), settings),
            *operators_pass(program, prepared, samples.elapsed_s / samples.calls, smoke=request.smoke),
        ]
    return measurements


def _repeated(samples: int, batch_size: int) -> str:
    return f"the {samples} test samples repeat within a batch" if samples < batch_size else ""


def _copied_inputs(program: Program) -> list[Measurement]:
    if not getattr(program, "copies_input", False):
        return []
    method = "the model writes to its input: each call gets a copy, which is part of its time"
    return [Measurement("copied_inputs", 1.0, method=method)]


def served(program: Program, prepared: Sequence[Any], own: Predictions, batch_size: int) -> Predictions:
    """Return a program's outputs for its batches, under the names of the model's outputs."""
    called = ((named_like(own, program.to_tensors(program(batch))), batch_size) for batch in prepared)
    return alike(gathered(called), own)


def _judged(
    outputs: Predictions, own: Predictions, workload: Workload, settings: LoweredSettings
) -> Measurement:
    """Compare the outputs of the timed program with the eager outputs of its model.

    By its format's tolerance, less the agreement of answers: these samples are too few for a share.
    """
    allowed = replace(tolerance(settings, own), top1_agreement=None)
    return judged(outputs, own, workload, allowed, few=True)[-1]


def _kernels(ran: Sequence[str], settings: LoweredSettings) -> list[Measurement]:
    """List the kernels that ran, as the runtime reports them; INVALID if none has the requested format.

    A precision is asked for only where the names of kernels tell theirs: not TF32, which has fp32's type.
    """
    listed = Measurement("kernels", len(ran), method=", ".join(ran))
    format_, precision = numerics(settings).format, settings.precision
    if format_ is not None:
        wanted, found = format_, kernels_of_format(format_, ran)
    elif precision in ("bf16", "fp16") and tells_precision(ran):
        wanted, found = precision, kernels_of_precision(precision, ran)
    else:
        return [listed]
    reason = "" if found else f"no {wanted} kernel ran: {', '.join(ran)}"
    others = [name for name in numbered_products(ran) if name not in found]
    method = ", ".join(found) + (f"; beside them {', '.join(others)}" if found and others else "")
    return [
        listed,
        Measurement("format_kernels", len(found), method=method, reason=reason),
        Measurement("valid", float(bool(found)), qualifier="kernels", reason=reason),
    ]


def _peak_tensors(program: Program, prepared: Any) -> Measurement:
    if not isinstance(program, TorchProgram):
        return Measurement("peak_tensor_bytes", None, reason="this runtime allocates outside PyTorch")
    if program.device.type != "cpu":
        return Measurement("peak_tensor_bytes", None, reason="see the device's own peak")
    if not isinstance(program.run, torch.nn.Module) or isinstance(program.run, torch.jit.ScriptModule):
        return Measurement("peak_tensor_bytes", None, reason="a compiled package's weights are its own")
    held = [*program.run.parameters(), *program.run.buffers(), prepared]
    peak = tensors.peak_tensor_bytes(lambda: program(prepared), held)
    reason = "" if peak is not None else tensors.OTHER_THREADS
    return Measurement("peak_tensor_bytes", peak, method="profiler's memory events", reason=reason)
