"""A cell's model in a folder of its own, which runs without this suite: file, script, example, model card."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.errors import BenchError
from bench.execution.resources import find_resources
from bench.interchange.model_card import Card, card_text
from bench.results.lookup import artifact_of, find_cell
from bench.results.store import CellRow, Store
from bench.stages.served_cell import ServedCell, load_served
from bench.workloads.loading import example_batch
from techniques.backends import BACKENDS, BackendRow
from techniques.backends.exports import Export, Lowered, array_of
from techniques.backends.protocol import Numerics
from techniques.registry import load_reference

SCRIPT, INPUT, RAW, OUTPUTS, CARD = "run.py", "input.npy", "raw.npy", "outputs.npz", "README.md"

_TIMEOUT_S = 600.0
_TOLERANCES = {"bf16": 2e-2, "fp16": 2e-3}
_TOLERANCE = 1e-5
"""How far outputs in a fresh process may be from the cell's, as a share of the largest: sums of floats in
another order, as another number of threads has them, differ by less."""

_DIFFERENCE = "largest difference:"

_ALONE = """import runpy, sys
sys.modules.update(dict.fromkeys(("bench", "techniques", "reports"), None))
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Runs a script where no module of ours can be imported, wherever the suite is installed."""
_SCRIPT = '''"""Run the model on the batch of {input}, and compare its outputs with the benchmark's."""

from pathlib import Path

import numpy as np
{imports}

here = Path(__file__).resolve().parent
batch = np.load(here / "{input}")
{lines}
expected = np.load(here / "{outputs}")
pairs = [(own + 0.0, expected[name]) for own, name in zip(outputs, expected.files, strict=True)]
print("outputs:", *(own.shape for own, _ in pairs))
print("{difference}", max(float(np.abs(own - wanted).max()) for own, wanted in pairs))
'''


@dataclass(frozen=True)
class TakenAway:
    """The folder, its files, and how far its outputs in a fresh process were from the cell's."""

    folder: Path
    files: tuple[str, ...]
    difference: float
    tolerance: float


def take_away(store: Store, run_id: str, name: str, results: Path, to: Path, command: str) -> TakenAway:
    """Write what runs a cell's model without this suite into the folder `to`, and run it there once.

    `command` repeats the cell's measurements. Raises BenchError where there is no such cell, its artifact is
    gone, its backend has nothing to export, `to` holds something, or the script gives other outputs.
    """
    cell = find_cell(store, run_id, name)
    row = _exporting(cell)
    folder = artifact_of(cell, run_id, results, "lower")
    _refuse_full(to)
    lower = next(stage for stage in store.stages(run_id) if stage.key == cell.stages["lower"])
    served = load_served(lower.request.settings, folder, len(find_resources().cpus))
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as place:
        part = Path(place, "export")
        part.mkdir()
        prepared, batch, outputs = _write_example(served, part)
        lowered = Lowered(folder, served.program, prepared, _numerics(served), served.threads)
        export: Export = load_reference(row.export)(lowered, part)
        _write_script(export, part)
        largest = max(float(np.abs(entry + 0.0).max()) for entry in outputs)
        tolerance = _TOLERANCES.get(served.settings.precision, _TOLERANCE) * max(largest, 1e-9)
        difference = _run_apart(part, tolerance)
        card = Card(
            store=store,
            run_id=run_id,
            cell=cell,
            folder=folder,
            served=served,
            export=export,
            command=command,
            shape=tuple(batch.shape),
            dtype=str(batch.dtype),
            outputs=[tuple(entry.shape) for entry in outputs],
            difference=difference,
            tolerance=tolerance,
        )
        (part / CARD).write_text(card_text(card))
        files = tuple(sorted(path.name for path in part.iterdir()))
        part.replace(to)
    return TakenAway(to, files, difference, tolerance)


def _exporting(cell: CellRow) -> BackendRow:
    backend = str(cell.axes.get("backend") or "")
    if cell.skipped or "lower" not in cell.stages:
        raise BenchError(f"cell {cell.name} serves nothing: {cell.skipped or 'it is only trained'}")
    row = BACKENDS.parse(backend).row
    if not row.export:
        able = ", ".join(other.name for other in BACKENDS.rows().values() if other.export)
        raise BenchError(f"cell {cell.name}: {row.name} has no file that runs elsewhere; these have: {able}")
    return row


def _refuse_full(to: Path) -> None:
    if to.is_symlink() or (to.exists() and (not to.is_dir() or any(to.iterdir()))):
        raise BenchError(f"--to {to}: must be a new or an empty folder")


def _numerics(served: ServedCell) -> Numerics:
    settings = served.settings
    return Numerics(settings.format.text if settings.format else None, settings.precision)


def _write_example(served: ServedCell, part: Path) -> tuple[Any, np.ndarray, Sequence[np.ndarray]]:
    """Write a batch of test inputs and what the cell gives for it.

    Returns the batch as it is prepared, its array, and the outputs.
    """
    batch_size, data, program = served.settings.batch_size, served.data, served.program
    np.save(part / RAW, data.test_inputs[torch.arange(batch_size) % len(data.test_inputs)].numpy())
    batch = example_batch(served.workload, data, batch_size)
    kept = program.prepare(batch.clone())  # a model may write to its input
    array = array_of(kept).copy()
    np.save(part / INPUT, array)
    found = program.to_tensors(program(program.prepare(batch.clone())))
    served.backend.synchronize()
    outputs = [tensor.detach().numpy() for tensor in found]
    named: dict[str, Any] = {f"output_{number}": entry for number, entry in enumerate(outputs)}
    np.savez(part / OUTPUTS, **named)
    return kept, array, outputs


def _write_script(export: Export, part: Path) -> None:
    names = {"input": INPUT, "outputs": OUTPUTS, "difference": _DIFFERENCE}
    text = _SCRIPT.format(**names, imports="\n".join(export.imports), lines="\n".join(export.lines))
    (part / SCRIPT).write_text(text)


def _run_apart(part: Path, tolerance: float) -> float:
    """Run the script in a process that imports no module of ours, from another folder; return the difference.

    Raises BenchError where it fails or its outputs are other ones.
    """
    command = [sys.executable, "-I", "-c", _ALONE, str(part.resolve() / SCRIPT)]
    options: Any = {"capture_output": True, "text": True, "check": False, "timeout": _TIMEOUT_S}
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            done = subprocess.run(command, cwd=elsewhere, **options)
        except subprocess.TimeoutExpired:
            raise BenchError(f"the exported model does not run alone within {_TIMEOUT_S:.0f} s") from None
    found = [line for line in done.stdout.splitlines() if line.startswith(_DIFFERENCE)]
    if done.returncode or not found:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise BenchError(f"the exported model does not run alone: {(lines or ['no output'])[-1]}")
    difference = float(found[-1].removeprefix(_DIFFERENCE))
    if not difference <= tolerance:
        raise BenchError(
            f"the exported model gives other outputs in a fresh process: they differ by up to "
            f"{difference:.3g}, the tolerance is {tolerance:.3g}"
        )
    return difference
