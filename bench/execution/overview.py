"""What a run would do, in a screenful: cells by axis, stages by kind, what is skipped, time and disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.costs import Prediction, prediction_lines, total_text
from bench.execution.session import Prepared
from bench.formatting import counted, one_line
from bench.matrix.axes import AXES
from bench.plan.planner import Plan
from bench.plan.sharing import shares
from bench.results.store import CellRow
from bench.stages import STAGES

_SHOWN = 6
"""How many values of an axis, or techniques of a group of skipped cells, a line names."""


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
    skipped = Counter(cell.skipped for cell in plan.skipped)
    groups: dict[str, Counter[str]] = {}
    for text, count in skipped.items():
        reason = plan.reasons[text]
        groups.setdefault(reason.group, Counter())[reason.about] += count
    found = [Group(why, about.total(), dict(about.most_common())) for why, about in groups.items()]
    return Overview(
        len(plan.cells),
        len(plan.skipped),
        {name: dict(values.most_common()) for name, values in axes.items()},
        tuple(sorted(found, key=lambda group: -group.cells)),
        missing_of(plan),
    )


def missing_of(plan: Plan) -> dict[str, int]:
    """Return the commands that install what is missing, and how many cells each would add."""
    missing: Counter[str] = Counter()
    for cell in plan.skipped:
        commands = plan.reasons[cell.skipped].commands
        if commands:
            missing[" && ".join(commands)] += 1
    return dict(missing.most_common())


def overview_lines(prepared: Prepared, prediction: Prediction) -> Iterator[str]:
    """Yield the overview, which fits a screen whatever the number of cells."""
    found, plan = overview_of(prepared), prepared.plan
    runs = found.cells - found.skipped
    if prepared.matrix.about:
        yield f"{prepared.matrix.name}: {prepared.matrix.about}"
    yield f"{counted(found.cells, 'cell')}: {runs:,} run, {found.skipped:,} are skipped"
    for axis, values in found.axes.items():
        if len(values) > 1:
            yield f"  {axis:17} {len(values):3}  {_named(values)}"
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


def missing_lines(missing: Mapping[str, int]) -> Iterator[str]:
    """Yield the commands that install what is missing, and how many cells each would add."""
    for command, count in missing.items():
        yield f"{command}  # would add {counted(count, 'cell')}"


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
