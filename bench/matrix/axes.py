"""The axes of a matrix: how their values are written, and what `*` and `auto` select."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.errors import MatrixError
from bench.matrix.tuning import read_tuning
from bench.workloads import WORKLOADS
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS, parse_recipe
from techniques.optimizers import OPTIMIZERS
from techniques.parallel import ONE_DEVICE, PARALLELS
from techniques.precisions import PRECISIONS
from techniques.regime import AVERAGES, CLIPS, SCHEDULES
from techniques.registry import Obstacle, Registry, TechniqueError, nearest

EVERYTHING = "*"
AUTO = "auto"
TUNED = "tuned"
"""The optimizer of the workload's own row, with the settings that its target was measured with."""

_MAX_BATCH_SIZE = 1_000_000
_MAX_DEVICES = 1024
_MAX_SEED = 2**32 - 1  # the largest that every library's generator accepts

Axis = str | int | list[str | int]
"""What a matrix file may give for an axis."""


@dataclass(frozen=True)
class LeftOut:
    """A value that `auto` did not take, and why. `axis` is its name, as cells have it.

    `missing` says that a command would add it: it lacks a package alone.
    """

    section: str
    axis: str
    value: str
    reason: str
    missing: bool = False

    def __str__(self) -> str:
        return left_out_text(self.section, [self.value], self.reason)


def left_out_text(section: str, values: Sequence[str], reason: str) -> str:
    """Say what `auto` leaves out of a section for one reason."""
    return f'[{section}] backend = "auto" leaves out {", ".join(values)}: {reason}'


def left_out_lines(left_out: Iterable[LeftOut]) -> Iterator[str]:
    """Yield what `auto` leaves out, one line for each reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for out in left_out:
        groups.setdefault((out.section, out.reason), []).append(out.value)
    for (section, reason), values in groups.items():
        yield left_out_text(section, values, reason)


@dataclass(frozen=True)
class AxisRule:
    """An axis: its name, and how a value in a matrix file becomes canonical values.

    `everything` lists what `*` selects; `obstacle` says why `auto` leaves a value out, or returns None.
    """

    name: str
    section: Literal["train", "infer"]
    read: Callable[[str | int], str | int]
    everything: Callable[[], Iterable[str]] | None = None
    obstacle: Callable[[str], Obstacle | None] | None = None

    @property
    def key(self) -> str:
        return self.name.removeprefix("train.")

    def expand(self, written: Axis, where: str) -> tuple[list[str | int], list[LeftOut]]:
        """Return the selected values in canonical spelling, and what `auto` leaves out.

        Raises MatrixError; its message begins with `where`.
        """
        values: list[str | int] = []
        left_out: list[LeftOut] = []
        for value in written if isinstance(written, list) else [written]:
            if value == EVERYTHING and self.everything is not None:
                values += self.everything()
            elif value == AUTO and self.obstacle is not None:
                running, left_out = self._split_by_obstacle(where)
                values += running
            else:
                values.append(self._read(value, where))
        if not values:
            raise MatrixError(f"{where}: must not be an empty list")
        # A backend that the list also names is not left out: its cells are skipped, with the reason.
        return values, [out for out in left_out if out.value not in values]

    def _read(self, value: str | int, where: str) -> str | int:
        try:
            return self.read(value)
        except TechniqueError as error:
            raise MatrixError(f"{where}: {error}") from None

    def _split_by_obstacle(self, where: str) -> tuple[list[str], list[LeftOut]]:
        assert self.everything is not None and self.obstacle is not None
        found = {value: self.obstacle(value) for value in self.everything()}
        running = [value for value, obstacle in found.items() if obstacle is None]
        if not running:
            raise MatrixError(f'{where}: "auto" selects no backend: none runs here; `bench machine` says why')
        out = [
            LeftOut(self.section, self.name, value, str(why), bool(why.command) and not why.hardware)
            for value, why in found.items()
            if why is not None
        ]
        return running, out


def _workloads() -> list[str]:
    return [name for name, row in WORKLOADS.rows().items() if row.complete]


def _optimizers() -> list[str]:
    return [name for name in OPTIMIZERS.rows() if name != NO_OPTIMIZER]


def _optimizer(value: str | int) -> str:
    return TUNED if value == TUNED else OPTIMIZERS.parse(str(value)).text


NO_OPTIMIZER = "none"
"""The optimizer of workloads whose model is served without training."""


def _positive(value: str | int) -> int:
    if not isinstance(value, int) or not 1 <= value <= _MAX_BATCH_SIZE:
        raise TechniqueError(f"must be an integer from 1 to {_MAX_BATCH_SIZE:,}, got {value!r}")
    return value


def _devices(value: str | int) -> int:
    if not isinstance(value, int) or not 1 <= value <= _MAX_DEVICES:
        raise TechniqueError(f"must be an integer from 1 to {_MAX_DEVICES:,}, got {value!r}")
    return value


def _batch_or_default(value: str | int) -> int:
    return 0 if value == "default" else _positive(value)


def _seed(value: str | int) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MAX_SEED:
        raise TechniqueError(f"must be an integer from 0 to {_MAX_SEED:,}, got {value!r}")
    return value


def _precision(value: str | int) -> str:
    if value not in PRECISIONS:
        raise TechniqueError(f"unknown precision {value!r}{nearest(str(value), PRECISIONS)}")
    return str(value)


def _every_compression() -> list[str]:
    """Return each with its defaults; what requires a property of weights after the step that leaves it."""
    rows = COMPRESSIONS.rows()
    leaving = {row.leaves: COMPRESSIONS.default(name).text for name, row in rows.items() if row.leaves}
    alone = [(row, COMPRESSIONS.default(name).text) for name, row in rows.items()]
    return [f"{leaving[row.requires]}+{text}" if row.requires in leaving else text for row, text in alone]


def _cannot_serve(backend: str) -> Obstacle | None:
    return BACKENDS.get(backend).obstacle()


def _cannot_train(backend: str) -> Obstacle | None:
    row = BACKENDS.get(backend)
    why = row.cannot_train(row.precisions[0])
    return Obstacle(why) if why else row.obstacle()


def _every_backend() -> Iterable[str]:
    """Return all but engines that only continue texts, which are named in a matrix."""
    return [name for name, row in BACKENDS.rows().items() if not row.only_generates]


def _every_server() -> Iterable[str]:
    """Return those that serve any model."""
    return [name for name in _every_backend() if BACKENDS.get(name).serves]


def _backend(value: str | int) -> str:
    return BACKENDS.parse(str(value)).text


def _every_parallel() -> list[str]:
    return [name for name in PARALLELS.rows() if name != ONE_DEVICE]


def _of_table(name: str, registry: Registry[Any]) -> AxisRule:
    return AxisRule(
        name,
        "train",
        lambda value: registry.parse(str(value)).text,
        lambda: [registry.default(row).text for row in registry.rows()],
    )


AXES = (
    AxisRule("workload", "train", lambda v: WORKLOADS.parse(str(v)).text, _workloads),
    AxisRule("optimizer", "train", _optimizer, _optimizers),
    _of_table("schedule", SCHEDULES),
    _of_table("clip", CLIPS),
    _of_table("average", AVERAGES),
    AxisRule("train.backend", "train", _backend, _every_backend, _cannot_train),
    AxisRule("train.precision", "train", _precision, lambda: PRECISIONS),
    AxisRule("train.batch_size", "train", _batch_or_default),
    AxisRule("devices", "train", _devices),
    AxisRule("parallel", "train", lambda v: PARALLELS.parse(str(v)).text, _every_parallel),
    AxisRule("tuning", "train", read_tuning),
    AxisRule("seed", "train", _seed),
    AxisRule("compression", "infer", lambda v: parse_recipe(str(v)).text, _every_compression),
    AxisRule("backend", "infer", _backend, _every_server, _cannot_serve),
    AxisRule("precision", "infer", _precision, lambda: PRECISIONS),
    AxisRule("batch_size", "infer", _positive),
)
"""Every axis, in the order that cells are listed. A name without `train.` means what `[infer]` says."""

AXIS_BY_NAME = {axis.name: axis for axis in AXES}
