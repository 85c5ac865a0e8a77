"""What a run would do, in a screenful: cells by axis, stages by kind, what is skipped, time and disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.costs import Prediction, prediction_lines, total_text
from bench.execution.preparation import Prepared
from bench.formatting import counted, one_line
from bench.matrix.axes import AXES
from bench.plan.sharing import shares
from bench.results.store import CellRow
from bench.stages import STAGES

_SHOWN = 6
"""How many values of an axis, or techniques of a group of skipped cells, a line names."""

_NEARLY_ALL = 0.95
"""Share of the cells that have one value of an axis, from which on its other values are not listed."""

_MAX_COMMANDS = 3


@dataclass(frozen=True)
class Group:
    """Skipped cells with similar reasons: how many there are, and of which techniques."""

    why: str
    cells: int
    about: Mapping[str, int]


@dataclass(frozen=True)
class Overview:
    """A prepared run in numbers.

    `axes` has for each axis the cells that run, by value; `missing` how many cells each command would add.
    """

    cells: int
    skipped: int
    axes: Mapping[str, Mapping[str, int]]
    groups: tuple[Group, ...]
    missing: Mapping[str, int]


def overview_of(prepared: Prepared) -> Overview:
    """Count the cells of a plan."""
    plan = prepared.plan
    axes: dict[str, Counter[str]] = {axis.name: Counter() for axis in AXES}
    for cell in plan.cells:
        if not cell.skipped:
            for name, values in axes.items():
                values[str(cell.axes[name])] += 1
    groups: dict[str, Counter[str]] = {}
    for reason, count in Counter(plan.reasons[cell.name] for cell in plan.skipped).items():
        groups.setdefault(reason.group, Counter())[reason.about] += count
    found = [Group(why, about.total(), dict(about.most_common())) for why, about in groups.items()]
    return Overview(
        len(plan.cells),
        len(plan.skipped),
        {name: dict(values.most_common()) for name, values in axes.items()},
        tuple(sorted(found, key=lambda group: -group.cells)),
        plan.missing,
    )


def overview_lines(prepared: Prepared, prediction: Prediction) -> Iterator[str]:
    """Yield the overview, which fits a screen whatever the number of cells."""
    found, plan = overview_of(prepared), prepared.plan
    runs = found.cells - found.skipped
    if prepared.matrix.about:
        yield f"{prepared.matrix.name}: {prepared.matrix.about}"
    yield f"{counted(found.cells, 'cell')}: {runs:,} run, {found.skipped:,} are skipped"
    yield from _axis_lines(found.axes, runs)
    if not prepared.matrix.serves:
        yield "models are trained and not served: the matrix has no [infer]"
    if prepared.matrix.crosses:
        yield "crosses, with all their cells:"
        for about, count in prepared.matrix.crosses:
            yield f"  {count:7,}  {about}"
    yield f"{counted(len(plan.stages), 'distinct stage')}, with their time summed over parallel stages:"
    yield from _stage_lines(prepared, prediction)
    if found.groups:
        yield "skipped cells (--cells says why for each):"
    for group in found.groups:
        yield f"  {group.cells:7,}  {group.why}: {_named(group.about)}"
    yield from missing_lines(found.missing)
    yield from prediction_lines(prediction)


def _axis_lines(axes: Mapping[str, Mapping[str, int]], runs: int) -> Iterator[str]:
    """Yield the values of each axis that has several; axes that nearly all cells agree on share a line."""
    several = {axis: values for axis, values in axes.items() if len(values) > 1}
    mostly = [axis for axis, values in several.items() if max(values.values()) >= _NEARLY_ALL * runs]
    for axis, values in several.items():
        if axis not in mostly:
            yield f"  {axis:17} {len(values):3}  {_named(values)}"
    if mostly:
        each = (f"{axis} {next(iter(several[axis]))} of {len(several[axis])}" for axis in mostly)
        yield f"  nearly always: {', '.join(each)}"


def missing_lines(missing: Mapping[str, int]) -> Iterator[str]:
    """Yield the commands that install what is missing, and how many cells each would add.

    Of many commands, those that add the most.
    """
    for command, count in list(missing.items())[:_MAX_COMMANDS]:
        yield f"{command}  # would add {counted(count, 'cell')}"
    rest = sum(list(missing.values())[_MAX_COMMANDS:])
    if rest:
        yield f"{counted(rest, 'more cell')} lack other packages, or several (--dry-run --json names them)"


def cell_lines(cells: Iterable[CellRow]) -> Iterator[str]:
    """Yield the name of each cell, and why it is skipped."""
    for cell in cells:
        text = cell.name + (f"  (skipped: {cell.skipped})" if cell.skipped else "")
        yield f"  {one_line(text)}"


def overview_document(prepared: Prepared, prediction: Prediction, *, cells: bool) -> dict[str, Any]:
    """Return the overview as JSON has it; `cells` asks for each cell too."""
    found, plan = overview_of(prepared), prepared.plan
    document: dict[str, Any] = {
        "matrix": prepared.matrix.name,
        "about": prepared.matrix.about,
        "leaves_out": prepared.matrix.leaves_out,
        "notes": list(prepared.notes),
        "cells": {"all": found.cells, "run": found.cells - found.skipped, "skipped": found.skipped},
        "axes": found.axes,
        "crosses": [{"about": about, "cells": count} for about, count in prepared.matrix.crosses],
        "stages": {kind: len(plan.of_kind(kind)) for kind in STAGES.rows()},
        "skipped": [{"why": group.why, "cells": group.cells, "about": group.about} for group in found.groups],
        "missing": [{"command": command, "cells": count} for command, count in found.missing.items()],
        "predicted": {
            "seconds": prediction.wall_s,
            "bytes": prediction.disk_bytes,
            "seconds_by_kind": {kind: total.wall_s for kind, total in prediction.kinds.items()},
            "from": prediction.sources,
        },
    }
    if cells:
        document["every_cell"] = [
            {"name": cell.name, "axes": dict(cell.axes), "skipped": cell.skipped or None}
            for cell in plan.cells
        ]
    return document


def _stage_lines(prepared: Prepared, prediction: Prediction) -> Iterator[str]:
    plan = prepared.plan
    shared = {kind for kind in STAGES.rows() if shares(plan, kind)}
    for kind in STAGES.rows():
        count, total = len(plan.of_kind(kind)), prediction.kinds.get(kind)
        if count:
            cost = total_text(total) if total else f"{'done':>12}"
            yield f"  {kind:12} {count:6,}{'+' if kind in shared else ' '} {cost}"
    if shared:
        yield "  (+: more if artifacts differ in structure)"


def _named(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:_SHOWN])
    return shown + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")
