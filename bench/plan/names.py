"""The names of cells."""

from __future__ import annotations

from bench.matrix.axes import AXES
from bench.matrix.cells import Cell


def cell_name(cell: Cell, varying: frozenset[str]) -> str:
    """Name a cell by its main axes, and by every other axis with several values in the matrix."""
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
