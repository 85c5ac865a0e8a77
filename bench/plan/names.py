"""The names of cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bench.matrix.axes import AXES
from bench.matrix.cells import Cell, reader

_MAIN = ("workload", "optimizer", "compression", "backend")


def cell_name(cell: Cell, varying: Iterable[str]) -> str:
    """Name a cell by its main axes, and by every other axis with several values in the matrix."""
    name = f"{cell.workload}/{cell.optimizer}/{cell.compression}@{cell.backend}"
    return "".join([name, *(f"/{axis}={cell.value(axis)}" for axis in varying if axis not in _MAIN)])


def varying_axes(cells: Collection[Cell]) -> tuple[str, ...]:
    """Return the axes that have several values; a batch size that its workload sets does not count."""
    found = {axis.name: set(map(reader(axis.name), cells)) for axis in AXES}
    by_workload = {(cell.workload, cell.train_batch_size) for cell in cells}
    names = [name for name, values in found.items() if len(values) > 1]
    if len(by_workload) == len(found["workload"]) and "train.batch_size" in names:
        names.remove("train.batch_size")
    if "devices" in names and len({(cell.devices, cell.parallel) for cell in cells}) == len(found["devices"]):
        names = [name for name in names if name != "parallel"]  # the devices say which
    return tuple(names)
