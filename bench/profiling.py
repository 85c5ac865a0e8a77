"""`bench profile`: what a cell serves, under its runtime's profiler. Never mixed with timings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.artifacts import artifact_folder
from bench.errors import BenchError
from bench.store import CellRow, Store
from techniques.backends.tracing import OperatorTime
from techniques.registry import nearest

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
    key = cell.stages.get("lower", "")
    folder = artifact_folder(results, str(key))
    if cell.skipped or not folder.is_dir():
        why = cell.skipped or "its artifact is not in the results folder; the run's command makes it again"
        raise BenchError(f"cell {cell.name} of run {run_id}: {why}")
    settings: dict[str, Any] = next(s for s in store.stages(run_id) if s.key == key).request["settings"]
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


def find_cell(store: Store, run_id: str, name: str) -> CellRow:
    """Return a run's cell; raises BenchError that names the nearest one."""
    cells = {cell.name: cell for cell in store.cells(run_id)}
    if name not in cells:
        raise BenchError(f"{name!r} is no cell of run {run_id}{nearest(name, cells)}")
    return cells[name]
