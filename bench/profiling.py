"""`bench profile`: what a cell serves, under its runtime's profiler. Never mixed with timings."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from bench.cells import artifact_of, find_cell
from bench.results_folder import refuse_links
from bench.store import Store
from techniques.backends.tracing import OperatorTime

CALLS = 20
_MOST_STEM = 200


@dataclass(frozen=True)
class Profile:
    """Where the trace lies, its operators, slowest first, and the calls it covers.

    `memory` are the bytes of tensors alive over the trace, as (seconds, bytes); empty where the runtime's own
    buffers are not PyTorch's to see. `run_id`, `lower` and `infer` say which record it belongs to.
    """

    run_id: str
    lower: str
    infer: str
    trace: Path
    operators: tuple[OperatorTime, ...]
    memory: tuple[tuple[float, int], ...]
    calls: int

    @property
    def timeline(self) -> Path:
        """Where the memory's timeline lies, as CSV."""
        return self.trace.with_suffix(".memory.csv")


def profile_cell(name: str, run_id: str | None, results: Path) -> Profile:
    """Run what a cell of a run serves under its runtime's profiler, after a warm-up.

    Raises BenchError where there is no such cell, or its artifact is gone. The trace opens in Perfetto
    (ui.perfetto.dev) and in Chrome.
    """
    import torch

    from bench.instruments.clock import warm_up
    from bench.resources import find_resources
    from bench.stages.inputs import example_batch, load_backend, load_workload, numerics, rotating_batches
    from bench.structures import read_structure
    from techniques.backends.protocol import sparing_inputs

    store = Store.open(results, create=False)
    run_id = store.find_run(run_id)
    cell = find_cell(store, run_id, name)
    folder = artifact_of(cell, run_id, results, "lower")
    lower = next(stage for stage in store.stages(run_id) if stage.key == cell.stages["lower"])
    settings = lower.request["settings"]
    threads = len(find_resources().cpus)
    torch.set_num_threads(threads)
    workload, data = load_workload(settings)
    backend = load_backend(settings)
    build = read_structure(folder, settings["workload"]).build
    program = backend.load(folder, build, numerics(settings), threads)
    program = sparing_inputs(program, example_batch(workload, data, settings["batch_size"]))
    prepared = [program.prepare(batch) for batch in rotating_batches(workload, data, settings["batch_size"])]
    warm_up(lambda: program(prepared[0]), backend.synchronize)
    path = results / run_id / "profiles" / f"{_stem(cell.name)}.json"
    refuse_links(results, f"{run_id}/profiles")
    path.parent.mkdir(parents=True, exist_ok=True)
    operators = tuple(program.trace(prepared, CALLS, path))
    memory = tuple(memory_timeline(path))
    keys = (str(cell.stages["lower"]), str(cell.stages["infer"]))
    profile = Profile(run_id, *keys, path, operators, memory, CALLS)
    if memory:
        with profile.timeline.open("w", newline="") as file:
            csv.writer(file).writerows([("seconds", "bytes"), *memory])
    store.close()
    return profile


def _stem(name: str) -> str:
    """Return a cell's name as a file's, which has at most 255 bytes; what is cut off is told by its hash."""
    stem = name.replace("/", " ")
    return (
        stem if len(stem.encode()) <= _MOST_STEM else f"{stem[:40]} {sha256(name.encode()).hexdigest()[:12]}"
    )


def memory_timeline(trace: Path) -> Iterator[tuple[float, int]]:
    """Yield (seconds since the first, bytes of tensors alive) after each allocation and release in a trace.

    The trace is a Chrome trace of torch.profiler with its memory; another runtime's has no such events. Only
    the CPU's or, where there are any, the GPU's are counted, from what was alive before the trace.
    """
    content = json.loads(trace.read_text())
    listed = content["traceEvents"] if isinstance(content, dict) else content
    events = [event for event in listed if event.get("name") == "[memory]"]
    device = max((event["args"].get("Device Type", 0) for event in events), default=0)
    own = sorted((e for e in events if e["args"].get("Device Type", 0) == device), key=lambda e: e["ts"])
    for event in own:
        yield (event["ts"] - own[0]["ts"]) / 1e6, int(event["args"]["Total Allocated"])
