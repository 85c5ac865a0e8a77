"""What a run of a results folder left, as one side: its artifacts are timed as they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from bench.errors import BenchError
from bench.execution.options import RunOptions, options_of
from bench.plan.planner import Plan
from bench.results.artifacts import copy_artifact, read_record
from bench.results.parts import Part, find_part
from bench.stages import STAGES
from techniques.registry import first_few


def taken_over(source: Path, into: Path) -> tuple[RunOptions, Plan]:
    """Copy what the latest run of a results folder left to another; returns its options and plan for there.

    What was in `into` before is removed: a run may have made artifacts of the same keys again. The plan has
    the cells of which every artifact is still there, so that nothing is made again: by the code as it is now
    it would be something else. Raises BenchError where there is no such cell.
    """
    part = find_part(source)
    lost = {key for key, stage in part.stages.items() if _leaves(stage.kind) and _is_lost(part, key)}
    cells = [
        (cell, part.with_parents(map(str, cell.stages.values()))) for cell in part.cells if not cell.skipped
    ]
    whole = [(cell, stages) for cell, stages in cells if not stages & lost]
    if not whole:
        gone = first_few([f"{part.stages[key].kind} {part.stages[key].label}" for key in sorted(lost)])
        raise BenchError(f"{part} has no cell with all of its artifacts; missing: {gone or 'no cell ran'}")
    shutil.rmtree(into, ignore_errors=True)
    needed: set[str] = set().union(*(stages for _, stages in whole))
    for key in needed:
        copy_artifact(part.results, key, into, key)
    stages = {key: stage for key, stage in part.stages.items() if key in needed}
    return _options(part, into), Plan(stages, tuple(cell for cell, _ in whole))


def _leaves(kind: str) -> bool:
    row = STAGES.known(kind)
    return row is not None and row.leaves_artifact


def _is_lost(part: Part, key: str) -> bool:
    return read_record(part.results, key) is None


def _options(part: Part, into: Path) -> RunOptions:
    """Return the options of a run, for its artifacts in another results folder."""
    options = options_of(part.run["command"])
    matrix = part.request.get("matrix_path") or options.matrix
    return replace(options, matrix=matrix, results=into, shard=None, artifacts="", rebuild=False, fresh=True)
