"""A matrix: its cells, each with one value of every axis, and the settings that all cells share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from bench.matrix.axes import AXES, LeftOut
from bench.matrix.file import Budget, Device, Estimate, Evaluate, Generation, Peak, Prices, Server
from bench.matrix.limits import Limit
from bench.matrix.tuning import TUNED_BY_TRIALS, tuning_of

_FIELDS = {axis.name: axis.name.replace(".", "_") for axis in AXES}
"""The field of a cell for each axis."""

_training = attrgetter(*(_FIELDS[axis.name] for axis in AXES if axis.section == "train"))

_tuned = attrgetter(
    *(_FIELDS[axis.name] for axis in AXES if axis.section == "train" and axis.name not in ("tuning", "seed"))
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of every axis, each technique in its canonical spelling."""

    workload: str
    optimizer: str
    schedule: str
    clip: str
    average: str
    train_backend: str
    train_precision: str
    train_batch_size: int
    devices: int
    parallel: str
    tuning: str
    seed: int
    compression: str
    backend: str
    precision: str
    batch_size: int

    def axes(self) -> Mapping[str, str | int]:
        """Return the cell's value on every axis, by the axis's name."""
        return _Axes(self)

    @property
    def training(self) -> tuple[str | int, ...]:
        """What tells the cell's training apart from others: its values of `[train]`."""
        training: tuple[str | int, ...] = _training(self)
        return training

    @property
    def tuned(self) -> tuple[str | int, ...]:
        """What trials tune: the values of `[train]` without the seed and the tuning."""
        tuned: tuple[str | int, ...] = _tuned(self)
        return tuned

    @property
    def chain(self) -> tuple[str | int, ...]:
        """What cells that stay together have in common: their training, or the optimizer that is tuned."""
        return self.training if tuning_of(self.tuning) is None else (*self.tuned, TUNED_BY_TRIALS)

    def value(self, axis: str) -> str | int:
        """Return the cell's value on an axis, by the axis's name."""
        found: str | int = getattr(self, _FIELDS[axis])
        return found


class _Axes(Mapping[str, str | int]):
    """A view of a cell: the dicts of a million cells would take a gigabyte."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def __getitem__(self, axis: str) -> str | int:
        return self._cell.value(axis)

    def __iter__(self) -> Iterator[str]:
        return iter(_FIELDS)

    def __len__(self) -> int:
        return len(_FIELDS)


def reader(axis: str) -> Callable[[Cell], str | int]:
    """Return what reads the value on an axis, of many cells fast."""
    return attrgetter(_FIELDS[axis])


@dataclass(frozen=True)
class Matrix:
    """A matrix and all its cells, including those that cannot run here.

    `left_out` are the backends that `auto` did not select, those that the filter excludes aside. `crosses`
    say what each `[[cross]]` is about and how many cells it has. One that does not `serve` only trains.
    `targets` and `evaluations_per_epoch` are of workloads that have others than their own. `limits` are what
    cells must hold. `evaluate` asks for further evaluations. `further` are cells that there would be too with
    the packages that `auto` misses. `leaves_out` says what a reader might miss.
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
    crosses: tuple[tuple[str, int], ...] = ()
    serves: bool = True
    targets: Mapping[str, float] = field(default_factory=dict)
    evaluations_per_epoch: Mapping[str, int] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    evaluate: Evaluate = field(default_factory=Evaluate)
    generation: Generation | None = None
    further: tuple[Cell, ...] = ()
    leaves_out: str = ""
