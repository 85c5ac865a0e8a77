"""Filters and exclusions: patterns of axis values that select cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from bench.errors import MatrixError
from bench.matrix.axes import AXIS_BY_NAME, Axis, AxisRule
from bench.matrix.cells import Cell
from techniques.registry import TechniqueError, nearest
from techniques.settings import split


def parse_filter(text: str, where: str = "--filter") -> dict[str, Axis]:
    """Read `axis=pattern|pattern,axis=pattern`; patterns may hold `*` and `?`. Messages begin with `where`.

    A technique's own settings may stand in a pattern: `optimizer=adam:lr=0.01,eps=1e-7,backend=onnx*`.
    """
    rule: dict[str, str] = {}
    for part in split(text, ","):
        key, *values = split(part, "=", 1)
        value = "".join(values)
        latest = next(reversed(rule), "")
        if latest and ":" in rule[latest] and axis_of(key) is None:
            rule[latest] += f",{part}"
            continue
        name = axis_of(key)
        if not values:
            raise MatrixError(f"{where}: {part!r} must have the form axis=value{nearest(key, AXIS_BY_NAME)}")
        if name is None:
            raise MatrixError(f"{where}: unknown axis {key!r}{nearest(key, AXIS_BY_NAME)}")
        if not value:
            raise MatrixError(f"{where}: {key!r} has no value; write axis=value")
        if name in rule:
            raise MatrixError(f"{where}: {key} is given twice; write {key}=one|other")
        rule[name] = value
    return {name: list(split(value, "|")) for name, value in rule.items()}


def chosen_of(
    cells: Iterable[Cell], patterns: Mapping[str, list[str]], *, matching: bool = True
) -> list[Cell]:
    """Return the cells that match a pattern on every axis that is named, or those that do not."""
    meeting: dict[str, dict[str | int, bool]] = {name: {} for name in patterns}

    def meets_all(cell: Cell) -> bool:
        for name, known in meeting.items():
            value = cell.value(name)
            if value not in known:
                known[value] = meets(value, patterns[name])
            if not known[value]:
                return False
        return True

    return [cell for cell in cells if meets_all(cell) is matching]


def patterns_of(
    where: str, rule: Mapping[str, Axis], cells: Collection[Cell], others: Mapping[str, set[str]]
) -> dict[str, list[str]]:
    """Return a rule's patterns by axis; raises MatrixError where one fits no value of cells or `others`."""
    patterns: dict[str, list[str]] = {}
    for key, written in rule.items():
        name = axis_of(key)
        if name is None:
            raise MatrixError(f"{where}: unknown axis {key!r}{nearest(key, AXIS_BY_NAME)}")
        known = {str(value) for value in {cell.value(name) for cell in cells}}
        known |= others.get(name, set())
        patterns[name] = []
        for value in written if isinstance(written, list) else [written]:
            pattern = _canonical(AXIS_BY_NAME[name], value)
            if not any(fnmatchcase(entry, pattern) for entry in known):
                raise MatrixError(f"{where}: no cell has {key}={value!r}{_near(pattern, known)}")
            patterns[name].append(pattern)
    return patterns


def _near(pattern: str, known: Iterable[str]) -> str:
    return nearest(pattern, known).replace("; known: ", "; this matrix has ")


def meets(value: str | int, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(str(value), pattern) for pattern in patterns)


def axis_of(key: str) -> str | None:
    """Return the axis that a key names: `backend` and `infer.backend` are the same."""
    name = key.removeprefix("infer.")
    known = name in AXIS_BY_NAME and (name == key or AXIS_BY_NAME[name].section == "infer")
    return name if known else None


def _canonical(axis: AxisRule, value: str | int) -> str:
    try:
        return str(axis.read(value))
    except TechniqueError:  # a pattern, or an unknown name, which the caller reports
        return str(value)
