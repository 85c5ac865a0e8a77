"""A cell of a run by its name, and what its stages left."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError
from bench.results.artifacts import artifact_folder
from bench.results.store import CellRow, Store
from techniques.registry import nearest


def find_cell(store: Store, run_id: str, name: str) -> CellRow:
    """Return a run's cell; raises BenchError that names the nearest one."""
    cells = {cell.name: cell for cell in store.cells(run_id)}
    if name not in cells:
        raise BenchError(f"run {run_id} has no cell {name!r}{nearest(name, cells)}")
    return cells[name]


def artifact_of(cell: CellRow, run_id: str, results: Path, *kinds: str) -> Path:
    """Return the artifact of the first of these stages that the cell has; raises BenchError if it is gone."""
    key = next((cell.stages[kind] for kind in kinds if cell.stages.get(kind)), "")
    folder = artifact_folder(results, str(key))
    if cell.skipped or not folder.is_dir():
        absent = f"its artifact is not in {results}; repeat the run, or give the folder that made it"
        why = cell.skipped or absent
        raise BenchError(f"cell {cell.name} of run {run_id}: {why}")
    return folder
