"""Time a lowered model on batches of one size."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from bench.errors import StageError
from bench.instruments import clock, tensors
from bench.instruments.gpu import GpuProbe
from bench.instruments.memory import PeakResident
from bench.records import Measurement, Request
from bench.stages.inputs import example_batch, load_backend, load_workload, numerics, parent_folder
from bench.stages.timing import quantiles
from bench.structures import read_structure
from techniques.backends.protocol import Program, TorchProgram


def run(request: Request, folder: Path) -> list[Measurement]:
    """Measure load time, first call, latency, throughput and memory; more passes in the first launch."""
    settings = request.settings
    workload, data = load_workload(settings)
    batch = example_batch(workload, data, settings["batch_size"])
    backend = load_backend(settings)
    lowered = parent_folder(request, "lowered")
    with PeakResident() as resident:
        started = time.perf_counter()
        program = backend.load(lowered, read_structure(lowered).build, numerics(settings), request.threads)
        backend.synchronize()
        loaded = time.perf_counter()
        prepared = program.prepare(batch)
        called = time.perf_counter()
        output = program(prepared)
        backend.synchronize()
        first_call_s = time.perf_counter() - called
    check(program.to_tensor(output), len(batch))
    clock.warm_up(lambda: program(prepared), backend.synchronize, least_calls=1 if request.smoke else 5)
    samples = clock.sample(lambda: program(prepared), backend.synchronize, seconds=settings["sample_s"])
    measurements = [
        *quantiles("latency_s", samples.durations_s),
        Measurement(
            "throughput",
            len(samples.durations_s) * len(batch) / samples.elapsed_s,
            n=len(samples.durations_s),
        ),
        Measurement("load_s", loaded - started),
        Measurement("first_call_s", first_call_s),
        Measurement("peak_rss_bytes", resident.peak_bytes, method=resident.method, reason=resident.reason),
        Measurement("rss_growth_bytes", resident.growth_bytes, method=resident.method),
    ]
    if request.all_passes:
        with GpuProbe(request.device) as gpu:
            program(prepared)
            backend.synchronize()
        measurements += [_peak_tensors(program, prepared), *gpu.measurements()]
    return measurements


def check(output: torch.Tensor, batch_size: int) -> None:
    """Refuse to time a program whose output is not one finite row for each sample."""
    if len(output) != batch_size:
        raise StageError(f"{len(output)} outputs for a batch of {batch_size}")
    if not torch.isfinite(output).all():
        raise StageError("outputs are not finite")


def _peak_tensors(program: Program, prepared: Any) -> Measurement:
    if not isinstance(program, TorchProgram):
        return Measurement(
            "peak_tensor_bytes", None, reason="this runtime's buffers are not PyTorch's to see"
        )
    if program.device.type != "cpu":
        return Measurement("peak_tensor_bytes", None, reason="see the CUDA allocator's peak")
    if not isinstance(program.run, torch.nn.Module):
        return Measurement("peak_tensor_bytes", None, reason="a compiled package's weights are its own")
    held = [*program.run.parameters(), *program.run.buffers(), prepared]
    peak = tensors.peak_tensor_bytes(lambda: program(prepared), held)
    return Measurement("peak_tensor_bytes", peak, method="profiler's memory events")
