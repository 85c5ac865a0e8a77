"""Runs one request: `python -m bench.execution.worker REQUEST.json RESULT.json`, or a fork server's child.

What it needs is in the request and in the artifact folder; what it found goes into the result file. It
writes artifacts and nothing else.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from bench.errors import Diverged
from bench.execution.endings import NO_SPACE_EXIT
from bench.execution.ranks import run_in_ranks
from bench.files import replace_file
from bench.identity.discovered import Recorder
from bench.identity.reuse import inputs_to_json
from bench.plugins import needed_packages, reload_plugins
from bench.records import Artifact, Measurement, Request, Result, State, as_json, read_as
from bench.results.artifacts import Making, publish, writing
from bench.results.folder import FULL
from bench.stages import STAGES, run_of, settings_of
from bench.workloads.trust import trust
from techniques.registry import CannotApply, first_few

Stage = Callable[[Request[Any], Path], Sequence[Measurement]]
"""What runs in a worker: it takes a request and a folder to fill, and returns measurements."""

_DISTURBANCE_METRICS = ("reference_s", "timed_cpu_over_wall", "gpu_throttled")

OUT_OF_MEMORY = (
    *("can't allocate memory", "std::bad_alloc", "out of memory", "cannot allocate memory"),
    *("resource_exhausted", "out_of_device_memory"),  # XLA, Intel's GPUs
)


def main(arguments: list[str]) -> int:
    """Read the request, run it, write the result."""
    request_path, result_path = map(Path, arguments)
    request = read_as(Request, json.loads(request_path.read_text()))
    devices = request.settings.get("devices", 1)
    try:
        result = run(request) if devices == 1 else run_in_ranks(request, devices, result_path.parent)
        replace_file(result_path, json.dumps(as_json(result)).encode(), sync=False)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return NO_SPACE_EXIT  # neither the result nor the log has room to say so
    return 0


def run(request: Request[Mapping[str, Any]], *, rank: int = 0, ranks: int = 1) -> Result:
    """Run the stage of a request; whatever goes wrong in it becomes the result's state and reason.

    Of several ranks that run it together each has a share of the threads, and rank 0 leaves the artifact.
    """
    from bench.instruments.disturbance import Disturbance

    disturbance = Disturbance(request.device, ranks)
    measurements: tuple[Measurement, ...] = ()
    artifact: Artifact | None = None
    state, reason = "ok", ""
    modules: Mapping[str, str] = {}
    body = time.perf_counter()
    try:
        stage, typed = prepare(request, max(1, request.threads // ranks))
        body = time.perf_counter()
        # Of a timed stage only the modules are recorded.
        recorder = Recorder(Path(request.results), hears_files=STAGES.get(request.kind).leaves_artifact)
        with disturbance, recorder:
            if rank == 0:
                measurements, artifact = _run_stage(stage, typed, request, recorder)
            else:
                with TemporaryDirectory() as scratch:
                    stage(typed, Path(scratch))
        modules = recorder.modules()
    except Exception as error:
        traceback.print_exc()
        state, reason = classify(error)
    body_s = time.perf_counter() - body
    return Result(
        cast(State, state),
        reason,
        start_s=time.time() - body_s,
        body_s=body_s,
        measurements=measurements,
        environment=_environment(request),
        dynamic={**_dynamic(disturbance, request, measurements), "modules": dict(modules)},
        artifact=artifact,
    )


def prepare(request: Request[Mapping[str, Any]], threads: int | None = None) -> tuple[Stage, Request[Any]]:
    """Do what belongs to starting up, outside the stage's body: plug-ins, imports, threads.

    `threads` are those of this process, all of the request's by default. Returns what runs the stage, and the
    request with the settings of its kind.
    """
    import torch

    torch.set_num_threads(threads or request.threads)
    trust(request.trusted)
    reload_plugins(request.plugins)
    for module in request.imports:
        importlib.import_module(module)
    _describe(request.device)
    return run_of(request.kind), replace(request, settings=settings_of(request.kind, request.settings))


def classify(error: Exception) -> tuple[State, str]:
    """Return the state and the one-line reason of a stage that raised."""
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    if isinstance(error, Diverged):
        return "diverged", lines[0]
    if isinstance(error, CannotApply):
        return "skipped", lines[0]
    if isinstance(error, MemoryError) or any(text in str(error).lower() for text in OUT_OF_MEMORY):
        return "oom", reason
    return "failed", reason


def _run_stage(
    stage: Stage, typed: Request[Any], request: Request[Mapping[str, Any]], recorder: Recorder
) -> tuple[tuple[Measurement, ...], Artifact | None]:
    if not STAGES.get(request.kind).leaves_artifact:
        return _each_once(stage(typed, Path(os.devnull))), None
    results = Path(request.results)
    with writing(results, request.key) as folder:
        started = time.perf_counter()
        measurements = _each_once(stage(typed, folder))
        making = Making(
            kind=request.kind,
            label=request.label,
            settings=request.settings,
            parents=request.parents,
            run_id=request.run_id,
            body_s=time.perf_counter() - started,
            measurements=measurements,
            inputs=inputs_to_json(recorder.inputs()),
        )
        return measurements, publish(folder, results, request.key, making)


def _each_once(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """Return what a stage measured; raises ValueError where it has one metric twice: the store keeps one."""
    found = tuple(measurements)
    counts = Counter((entry.metric, entry.qualifier) for entry in found)
    twice = [" ".join(filter(None, what)) for what, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"the stage measured {first_few(twice)} twice")
    return found


@cache
def _describe(device: str) -> dict[str, Any]:
    from bench.instruments.environment import describe

    return describe(device, needed_packages())


def _environment(request: Request[Any]) -> dict[str, Any]:
    from bench.analysis.comparable import fingerprint
    from bench.instruments.accelerators import named_accelerators
    from bench.instruments.environment import describe_torch_cuda

    described = _describe(request.device)
    known = request.device == "cpu" or described["accelerators"]
    found = {
        **described,
        "accelerators": described["accelerators"] if known else named_accelerators(request.device),
        # Not cached: a backend sets how fp32 is multiplied as it loads.
        "torch_cuda": describe_torch_cuda() if request.device == "cuda" else None,
        "threads": request.threads,
        "cpus": len(request.cpus),
        "launched": "forked from a fresh server" if request.fork_safe else "a process of its own",
    }
    return {"fingerprint": fingerprint(found), **found}


def _dynamic(
    disturbance: Any, request: Request[Any], measurements: tuple[Measurement, ...]
) -> dict[str, Any]:
    observed = {entry.metric: entry.value for entry in measurements if entry.metric in _DISTURBANCE_METRICS}
    try:
        found: dict[str, Any] = disturbance.to_json()
        disturbed = disturbance.disturbed(request.threads, observed)
        return {**found, **observed, "disturbed": disturbed}
    except Exception as error:  # the stage failed before the probe had begun
        return {"disturbed": "", "unknown": str(error)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
