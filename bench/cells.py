"""How a cell is named, the cell of that name in a run, and what a stage of it left."""

from __future__ import annotations

from pathlib import Path

from bench.artifacts import artifact_folder
from bench.axes import AXES
from bench.errors import BenchError
from bench.matrix import Cell
from bench.store import CellRow, Store
from techniques.registry import nearest


def cell_name(cell: Cell, varying: frozenset[str]) -> str:
    """Name a cell by its main axes, and by the others where they have several values in the matrix."""
    main = ("workload", "optimizer", "compression", "backend")
    others = [
        f"{name}={value}" for name, value in cell.axes().items() if name in varying and name not in main
    ]
    return "/".join([cell.workload, cell.optimizer, f"{cell.compression}@{cell.backend}", *others])


def varying_axes(cells: tuple[Cell, ...]) -> frozenset[str]:
    """Return the axes that have several values; a batch size that its workload sets does not count."""
    found = [cell.axes() for cell in cells]
    by_workload = {(axes["workload"], axes["train.batch_size"]) for axes in found}
    names = {axis.name for axis in AXES if len({axes[axis.name] for axes in found}) > 1}
    if len(by_workload) == len({axes["workload"] for axes in found}):
        names.discard("train.batch_size")
    return frozenset(names)


def find_cell(store: Store, run_id: str, name: str) -> CellRow:
    """Return a run's cell; raises BenchError that names the nearest one."""
    cells = {cell.name: cell for cell in store.cells(run_id)}
    if name not in cells:
        raise BenchError(f"{name!r} is no cell of run {run_id}{nearest(name, cells)}")
    return cells[name]


def artifact_of(cell: CellRow, run_id: str, results: Path, *kinds: str) -> Path:
    """Return the folder that the first of these stages which the cell has left; raises BenchError without."""
    key = next((cell.stages[kind] for kind in kinds if cell.stages.get(kind)), "")
    folder = artifact_folder(results, str(key))
    if cell.skipped or not folder.is_dir():
        why = cell.skipped or "its artifact is not in the results folder; the run's command makes it again"
        raise BenchError(f"cell {cell.name} of run {run_id}: {why}")
    return folder
