"""A matrix as it is spanned: its cells, each a point of every axis, and what goes for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.matrix.axes import AXES, LeftOut
from bench.matrix.file import Budget, Device, Estimate, Peak, Prices, Server


@dataclass(frozen=True)
class Cell:
    """One point of `[train]` with one of `[infer]`, each technique in its canonical spelling."""

    workload: str
    optimizer: str
    train_backend: str
    train_precision: str
    train_batch_size: int
    seed: int
    compression: str
    backend: str
    precision: str
    batch_size: int

    def axes(self) -> dict[str, str | int]:
        """Return the cell's place on every axis, by the axis's name."""
        return {axis.name: getattr(self, axis.name.replace(".", "_")) for axis in AXES}


@dataclass(frozen=True)
class Matrix:
    """A matrix with its cells spanned, before anything is left out for want of hardware or kernels.

    `left_out` is what `auto` did not take and the filter did not either.
    """

    name: str
    about: str
    cells: tuple[Cell, ...]
    budget: Budget
    fallback: Mapping[str, str]
    text: str
    prices: Prices | None
    estimate: Estimate
    server: Server | None
    peaks: Mapping[Device, Peak]
    left_out: tuple[LeftOut, ...] = ()
