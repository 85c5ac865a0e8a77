"""The cells of one cross: the product of its axes, of which some advance together, less what it excludes."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter
from typing import Any

from bench.analysis.tuning import FIXED
from bench.errors import MatrixError
from bench.matrix.axes import AXES, AXIS_BY_NAME, NO_OPTIMIZER, TUNED, Axis, LeftOut
from bench.matrix.cells import Cell
from bench.matrix.file import Cross, InferAxes, tuning_values
from bench.matrix.filters import axis_of, chosen_of, patterns_of
from bench.workloads import WORKLOADS
from techniques.optimizers import OPTIMIZERS
from techniques.parallel import ONE_DEVICE
from techniques.regime import CONSTANT, NONE
from techniques.registry import nearest

Value = str | int

NOT_SERVED = InferAxes(compression="none", backend="cpu-eager")
"""The values of `[infer]` of models that are only trained."""

_PLACES = {axis.name: place for place, axis in enumerate(AXES)}
_WORKLOAD, _OPTIMIZER, _TRAIN_BATCH_SIZE, _DEVICES, _PARALLEL = (
    _PLACES[name] for name in ("workload", "optimizer", "train.batch_size", "devices", "parallel")
)
_AS_GIVEN = {
    **{"optimizer": NO_OPTIMIZER, "schedule": CONSTANT, "clip": NONE, "average": NONE, "tuning": FIXED},
    **{"devices": 1, "parallel": ONE_DEVICE},
}
_UNTRAINED = {_PLACES[axis]: value for axis, value in _AS_GIVEN.items()}
"""What cells have, by place, whose model is served as given."""


@dataclass(frozen=True)
class Span:
    """The values of one cross. `where` is its place in the file, for messages; `ties` are those of `zip`.

    `replaced` are workloads of the file that the user has replaced.
    """

    where: str
    values: Mapping[str, Sequence[Value]]
    ties: Sequence[Sequence[str]]
    rules: Sequence[Mapping[str, Axis]]
    left_out: Sequence[LeftOut]
    replaced: Sequence[Value] = ()
    about: str = ""

    @classmethod
    def of(cls, where: str, cross: Cross, workloads: Sequence[str] = ()) -> Span:
        """Read a cross; `workloads`, if not empty, replace its own. Raises MatrixError."""
        values: dict[str, Sequence[Value]] = {}
        left_out: list[LeftOut] = []
        sections = {"train": cross.train, "infer": cross.infer or NOT_SERVED}
        for axis in AXES:
            written = getattr(sections[axis.section], axis.key)
            written = tuning_values(written) if axis.name == "tuning" else written
            values[axis.name], passed_over = axis.expand(written, f"{where}: [{axis.section}] {axis.key}")
            left_out += passed_over
        replaced: Sequence[Value] = ()
        if workloads:
            replaced = values["workload"]
            values["workload"], _ = AXIS_BY_NAME["workload"].expand(list(workloads), "--workload")
        return cls(
            where, values, _ties(where, cross.zip, values), cross.exclude, left_out, replaced, cross.about
        )

    def completed(self) -> Span | None:
        """Return the cross as it would be with the packages that `auto` misses; None where it misses none.

        An axis that is tied to others stays as it is.
        """
        tied = set(itertools.chain.from_iterable(self.ties))
        more: dict[str, list[Value]] = defaultdict(list)
        for out in self.left_out:
            if out.missing and out.axis not in tied:
                more[out.axis].append(out.value)
        if not more:
            return None
        values = {axis: [*own, *more.get(axis, ())] for axis, own in self.values.items()}
        return replace(self, values=values)

    @property
    def count(self) -> int:
        """How many cells the cross spans before any is excluded."""
        return math.prod(len(values) for _, values in self._bundles())

    def cells(self, workloads: Mapping[Value, Value]) -> Iterator[Cell]:
        """Yield the cells of the chosen workloads, each workload replaced by what it maps to.

        Rules are about the file's own workloads, whichever are chosen or replaced.
        """
        make, kept = _CellMaker(), None
        if self.rules:
            spanned = list(dict.fromkeys(map(make.cell, self._points())))
            kept = set(exclude(self.where, self.rules, spanned, [self]))
        for point in self._points():
            workload = point[_WORKLOAD]
            if workload in workloads and (kept is None or make.cell(point) in kept):
                yield make.cell((workloads[workload], *point[_WORKLOAD + 1 :]))

    def _points(self) -> Iterator[tuple[Value, ...]]:
        """Yield the values of each point in the order of `AXES`."""
        bundles = self._bundles()
        names = [name for tie, _ in bundles for name in tie]
        in_order = itemgetter(*(names.index(name) for name in self.values))
        for parts in itertools.product(*(values for _, values in bundles)):
            yield in_order(tuple(itertools.chain.from_iterable(parts)))

    def _bundles(self) -> list[tuple[Sequence[str], list[tuple[Value, ...]]]]:
        """Return each axis or tie of axes, with the values that are crossed with those of others."""
        bundles: list[tuple[Sequence[str], list[tuple[Value, ...]]]] = []
        tied: set[str] = set()
        for name in self.values:
            tie = next((tie for tie in self.ties if name in tie), [name])
            if name not in tied:
                length = max(len(self.values[axis]) for axis in tie)
                points = [tuple(_nth(self.values[axis], n) for axis in tie) for n in range(length)]
                bundles.append((tie, points))
                tied.update(tie)
        return bundles


def exclude(
    where: str, rules: Iterable[Mapping[str, Axis]], cells: Sequence[Cell], spans: Iterable[Span]
) -> list[Cell]:
    """Return the cells that match no rule; a rule that names a value of none of the spans is a mistake."""
    others = others_of(spans)
    kept = list(cells)
    for number, rule in enumerate(rules, 1):
        place = f"{where}: exclude rule {number}"
        if not rule:
            raise MatrixError(f"{place} must name an axis")
        kept = chosen_of(kept, patterns_of(place, rule, cells, others), matching=False)
    return kept


def others_of(spans: Iterable[Span]) -> dict[str, set[str]]:
    """Return by axis the values that no cell has: backends of other machines, replaced workloads."""
    others: dict[str, set[str]] = defaultdict(set)
    for span in spans:
        others["workload"].update(map(str, span.replaced))
        for out in span.left_out:
            others[out.axis].add(out.value)
    return others


def _ties(
    where: str, written: Iterable[Sequence[str]], values: Mapping[str, Sequence[Value]]
) -> list[list[str]]:
    """Return the names of the axes that advance together; raises MatrixError where they cannot."""
    ties: list[list[str]] = []
    for number, keys in enumerate(written, 1):
        place = f"{where}: zip {number}"
        names: list[str] = []
        for key in keys:
            name = axis_of(key)
            if name is None:
                raise MatrixError(f"{place}: unknown axis {key!r}{nearest(key, values)}")
            if name in [*names, *itertools.chain(*ties)]:
                raise MatrixError(f"{place}: {key} is tied twice")
            names.append(name)
        if len(names) < 2:
            raise MatrixError(f"{place}: must name two axes or more, got {list(keys)}")
        lengths = {name: len(values[name]) for name in names}
        if len({length for length in lengths.values() if length > 1}) > 1:
            counts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise MatrixError(f"{place}: needs as many values of each axis, or one: {counts}")
        ties.append(names)
    return ties


def _nth(values: Sequence[Value], number: int) -> Value:
    return values[0] if len(values) == 1 else values[number]


class _CellMaker:
    """Makes cells of points, which may say that a value is the workload's own."""

    def __init__(self) -> None:
        self._row = cache(lambda name: WORKLOADS.parse(name).row)
        self._optimizer = cache(lambda name: OPTIMIZERS.parse(name).text)

    def cell(self, point: Sequence[Value]) -> Cell:
        values: list[Any] = list(point)
        row = self._row(values[_WORKLOAD])
        if values[_TRAIN_BATCH_SIZE] == 0:
            values[_TRAIN_BATCH_SIZE] = row.batch_size
        if values[_DEVICES] == 1:
            values[_PARALLEL] = ONE_DEVICE
        if row.inference_only:
            for place, value in _UNTRAINED.items():
                values[place] = value
        elif values[_OPTIMIZER] == TUNED:
            values[_OPTIMIZER] = self._optimizer(row.optimizer)
        return Cell(*values)
