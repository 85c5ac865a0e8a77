"""One cell, measured for a test: a model with its inputs, or a point of a matrix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import measure, run_matrix
from bench.errors import BenchError
from bench.results.store import CellRow, Store
from reports.frames.inference import cell_state
from reports.frames.validity import timing_fault
from reports.frames.view import RunView, read

if TYPE_CHECKING:
    import torch

CELLS = "cells"
"""The folder of the matrices that were written for tests, in the results folder."""

TIMED = "latency_s"


@dataclass(frozen=True)
class MeasuredCell:
    """A cell of a run that has ended."""

    view: RunView
    cell: CellRow

    @property
    def timing_fault(self) -> str:
        """Why the launches give no valid timing, empty where they do."""
        return timing_fault(self.view, str(self.cell.stages.get("infer") or ""), TIMED)


def measure_model(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    results: Path,
    *,
    targets: torch.Tensor | None = None,
    compression: str = "none",
    backend: str = "cpu-eager",
    batch_size: int = 1,
    outputs: str = "",
    max_launches: int = 10,
    budget_s: float | None = 60.0,
) -> MeasuredCell:
    """Measure one cell of a live module by `bench.measure`; its arguments are explained there.

    Raises BenchError where the cell is not well, with the reason.
    """
    table = measure(
        model,
        inputs,
        targets=targets,
        compressions=[compression],
        backends=[backend],
        batch_sizes=[batch_size],
        outputs=outputs,
        max_launches=max_launches,
        budget_s=budget_s,
        results=results,
        store="",
    )
    return _measured(results, table.attrs["run"])


def measure_point(
    results: Path,
    train: Mapping[str, Any],
    infer: Mapping[str, Any],
    max_launches: int,
    budget_s: float | None,
) -> MeasuredCell:
    """Measure one point of `[train]` with one of `[infer]`, named as in a matrix file.

    Its artifacts are kept in the results folder, and taken up again where nothing changed. Raises BenchError
    where the point cannot be read, or the cell is not well.
    """
    text = "\n".join(
        [
            *("[train]", *_lines(train), "[infer]", *_lines(infer), "[budget]"),
            *(f"max_launches = {max_launches}", *([] if budget_s is None else [f"budget_s = {budget_s}"])),
        ]
    )
    matrix = results / CELLS / f"cell-{hashlib.sha256(text.encode()).hexdigest()[:12]}.toml"
    matrix.parent.mkdir(parents=True, exist_ok=True)
    matrix.write_text(text + "\n")
    return _measured(results, run_matrix(matrix, results))


def _lines(axes: Mapping[str, Any]) -> Sequence[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in axes.items()]


def _measured(results: Path, run_id: str) -> MeasuredCell:
    with closing(Store.open(results, create=False)) as store:
        view = read(store, run_id)
    if len(view.cells) != 1:
        names = ", ".join(cell.name for cell in view.cells)
        raise BenchError(f"a test measures one cell at a time, got {len(view.cells)}: {names}")
    found = MeasuredCell(view, view.cells[0])
    state, reason = cell_state(view, found.cell)
    # Of launches that give no timing the exact metrics still hold.
    if state != "ok" and reason != f"timing: {found.timing_fault}":
        raise BenchError(f"{found.cell.name} is {state}: {reason}")
    return found
