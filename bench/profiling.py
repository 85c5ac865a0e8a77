"""`bench profile`: what a cell serves, under its runtime's profiler. Never mixed with timings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.cells import artifact_of, find_cell
from bench.store import Store
from techniques.backends.tracing import OperatorTime

CALLS = 20


@dataclass(frozen=True)
class Profile:
    """Where the trace lies, its operators, slowest first, and the calls it covers."""

    trace: Path
    operators: tuple[OperatorTime, ...]
    calls: int


def profile_cell(name: str, run_id: str | None, results: Path) -> Profile:
    """Run what a cell of a run serves under its runtime's profiler, after a warm-up.

    Raises BenchError where there is no such cell, or its artifact is gone. The trace opens in Perfetto
    (ui.perfetto.dev) and in Chrome.
    """
    import torch

    from bench.instruments.clock import warm_up
    from bench.resources import find_resources
    from bench.stages.inputs import load_backend, load_workload, numerics, rotating_batches
    from bench.structures import read_structure

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
    program = backend.load(folder, read_structure(folder).build, numerics(settings), threads)
    prepared = [program.prepare(batch) for batch in rotating_batches(workload, data, settings["batch_size"])]
    warm_up(lambda: program(prepared[0]), backend.synchronize)
    path = results / run_id / "profiles" / f"{cell.name.replace('/', ' ')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return Profile(path, tuple(program.trace(prepared, CALLS, path)), CALLS)
