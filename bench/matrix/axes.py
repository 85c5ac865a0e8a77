"""The axes of a matrix: how a value of each is written, and what `*` and `auto` stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from bench.errors import MatrixError
from bench.workloads import WORKLOADS
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS, parse_recipe
from techniques.optimizers import OPTIMIZERS
from techniques.precisions import PRECISIONS
from techniques.registry import TechniqueError, nearest

EVERYTHING = "*"
AUTO = "auto"
TUNED = "tuned"
"""An optimizer: that of the workload's own row, at the settings that its target was measured with."""

_MOST_IN_A_BATCH = 1_000_000
_LARGEST_SEED = 2**32 - 1  # what every library's generator takes

Axis = str | int | list[str | int]
"""What a matrix file may give for an axis."""


@dataclass(frozen=True)
class LeftOut:
    """A value that `auto` did not take, and why. `axis` is its name, as cells have it."""

    section: str
    axis: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f'[{self.section}] backend = "auto" leaves out {self.value}: {self.reason}'


@dataclass(frozen=True)
class AxisRule:
    """How an axis is named, and how a value of it in a matrix file becomes its canonical values.

    `everything` is what `*` stands for; `obstacle` says why `auto` leaves out one of them, or None.
    """

    name: str
    section: Literal["train", "infer"]
    read: Callable[[str | int], str | int]
    everything: Callable[[], Iterable[str]] | None = None
    obstacle: Callable[[str], str | None] | None = None

    @property
    def key(self) -> str:
        return self.name.removeprefix("train.")

    def expand(self, given: Axis, where: str) -> tuple[list[str | int], list[LeftOut]]:
        """Return the values that are meant, in their canonical spelling, and what `auto` leaves out.

        Raises MatrixError that begins with `where`.
        """
        values: list[str | int] = []
        left_out: list[LeftOut] = []
        for value in given if isinstance(given, list) else [given]:
            if value == EVERYTHING and self.everything is not None:
                values += self.everything()
            elif value == AUTO and self.obstacle is not None:
                running, left_out = self._split_by_obstacle(where)
                values += running
            else:
                values.append(self._read(value, where))
        if not values:
            raise MatrixError(f"{where}: the list is empty")
        # What the list names besides is not left out: its cells are skipped, with the reason.
        return values, [out for out in left_out if out.value not in values]

    def _read(self, value: str | int, where: str) -> str | int:
        try:
            return self.read(value)
        except TechniqueError as error:
            raise MatrixError(f"{where}: {error}") from None

    def _split_by_obstacle(self, where: str) -> tuple[list[str], list[LeftOut]]:
        assert self.everything is not None and self.obstacle is not None
        reasons = {value: self.obstacle(value) for value in self.everything()}
        running = [value for value, reason in reasons.items() if not reason]
        if not running:
            raise MatrixError(f'{where}: "auto" finds none that runs here; `bench machine` says why')
        out = [LeftOut(self.section, self.name, value, why) for value, why in reasons.items() if why]
        return running, out


def _workloads() -> list[str]:
    return [name for name, row in WORKLOADS.rows().items() if row.complete]


def _optimizers() -> list[str]:
    return [name for name in OPTIMIZERS.rows() if name != NO_OPTIMIZER]


def _optimizer(value: str | int) -> str:
    return TUNED if value == TUNED else OPTIMIZERS.parse(str(value)).text


NO_OPTIMIZER = "none"
"""The optimizer of workloads that are a model as it is."""


def _positive(value: str | int) -> int:
    if not isinstance(value, int) or not 1 <= value <= _MOST_IN_A_BATCH:
        raise TechniqueError(f"{value!r} is no whole number from 1 to {_MOST_IN_A_BATCH:,}")
    return value


def _batch_or_default(value: str | int) -> int:
    return 0 if value == "default" else _positive(value)


def _seed(value: str | int) -> int:
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_SEED:
        raise TechniqueError(f"{value!r} is no whole number from 0 to {_LARGEST_SEED:,}")
    return value


def _precision(value: str | int) -> str:
    if value not in PRECISIONS:
        raise TechniqueError(f"unknown precision {value!r}{nearest(str(value), PRECISIONS)}")
    return str(value)


def _every_compression() -> list[str]:
    return [COMPRESSIONS.default(name).text for name in COMPRESSIONS.rows()]


def _cannot_serve(backend: str) -> str | None:
    return BACKENDS.get(backend).unavailable()


def _cannot_train(backend: str) -> str | None:
    row = BACKENDS.get(backend)
    return row.cannot_train(row.precisions[0]) or row.unavailable()


def _every_backend() -> Iterable[str]:
    return BACKENDS.rows()


def _backend(value: str | int) -> str:
    return BACKENDS.parse(str(value)).text


AXES = (
    AxisRule("workload", "train", lambda v: WORKLOADS.parse(str(v)).text, _workloads),
    AxisRule("optimizer", "train", _optimizer, _optimizers),
    AxisRule("train.backend", "train", _backend, _every_backend, _cannot_train),
    AxisRule("train.precision", "train", _precision, lambda: PRECISIONS),
    AxisRule("train.batch_size", "train", _batch_or_default),
    AxisRule("seed", "train", _seed),
    AxisRule("compression", "infer", lambda v: parse_recipe(str(v)).text, _every_compression),
    AxisRule("backend", "infer", _backend, _every_backend, _cannot_serve),
    AxisRule("precision", "infer", _precision, lambda: PRECISIONS),
    AxisRule("batch_size", "infer", _positive),
)
"""Every axis, in the order that cells are listed. A name without `train.` means what `[infer]` says."""

AXIS_BY_NAME = {axis.name: axis for axis in AXES}
