"""A matrix and the cells it spans.

The optimizer `"tuned"` is that of each workload's own row. The value `"*"` selects everything registered for
an axis; what cannot run here is skipped with the reason. The backend `"auto"` selects every backend that runs
here, in `[train]` every one that can also train, in the table's order; what it leaves out is listed with the
reason. Both may be part of a list. A matrix with `"auto"` spans different cells on another machine, so its
run there is a different run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import MatrixError
from bench.matrix.axes import AXES, NO_OPTIMIZER, TUNED, Axis, LeftOut
from bench.matrix.cells import Cell, Matrix
from bench.matrix.file import parse_matrix_file
from bench.matrix.filters import matches, meets, parse_filter, patterns_of
from bench.matrix.shipped import shipped_matrices
from bench.workloads import WORKLOADS
from techniques.optimizers import OPTIMIZERS
from techniques.registry import TechniqueError, nearest

_MAX_BYTES = 2**20
_MAX_CELLS = 1_000_000


def read_matrix(
    name_or_file: str,
    filter_text: str = "",
    substitutes: Mapping[str, str] | None = None,
    workloads: Sequence[str] = (),
) -> Matrix:
    """Read a shipped matrix by its name, or a file; raises MatrixError with what is wrong and where.

    `substitutes` maps workloads whose data is unavailable to the workloads that replace them. `workloads`,
    if not empty, replace those of the matrix.
    """
    path = find_matrix(name_or_file)
    text = _text(path)
    content = parse_matrix_file(path, text)
    values: dict[str, list[str | int]] = {}
    left_out: list[LeftOut] = []
    for axis in AXES:
        written = getattr(getattr(content, axis.section), axis.key)
        if workloads and axis.name == "workload":
            written = list(workloads)
        values[axis.name], passed_over = axis.expand(written, f"{path}: [{axis.section}] {axis.key}")
        left_out += passed_over
    fallback = {_fallback(path, old): _fallback(path, new) for old, new in content.fallback.items()}
    wanted = parse_filter(filter_text) if filter_text else {}
    values["workload"], wanted = _choose_workloads(values["workload"], wanted, fallback, substitutes or {})
    count = math.prod(map(len, values.values()))
    if count > _MAX_CELLS:
        raise MatrixError(f"{path}: spans {count:,} cells, the maximum is {_MAX_CELLS:,}; split the file")
    spanned = [_cell(point) for point in itertools.product(*values.values())]
    cells = _exclude(path, content.exclude, spanned, left_out)
    chosen = patterns_of("--filter", wanted, spanned, left_out)
    cells = [cell for cell in cells if matches(cell, chosen)]
    left_out = [out for out in left_out if meets(out.value, chosen.get(out.axis, ["*"]))]
    if not cells:
        problem = f"no cell matches --filter {filter_text!r}" if filter_text else "every cell is excluded"
        reasons = [str(out) for out in left_out if out.axis in chosen]
        raise MatrixError("; ".join([f"{path}: {problem}", *reasons]))
    unique = tuple(dict.fromkeys(cells))
    return Matrix(
        path.stem,
        content.about,
        unique,
        content.budget,
        fallback,
        text,
        content.prices,
        content.estimate,
        content.server,
        content.peaks,
        tuple(left_out),
    )


def find_matrix(name_or_file: str) -> Path:
    """Return the path of a shipped matrix or of a file; raises MatrixError that names the nearest."""
    path = Path(name_or_file)
    if path.suffix == ".toml":
        if path.is_dir():
            raise MatrixError(f"{path} must be a matrix file, got a folder")
        if not path.is_file():
            raise MatrixError(f"{path}: no such matrix file")
        return path
    shipped = shipped_matrices()
    if name_or_file not in shipped:
        near = nearest(name_or_file, shipped)
        raise MatrixError(f"unknown matrix {name_or_file!r}{near} (or give a path that ends in .toml)")
    return shipped[name_or_file]


def _choose_workloads(
    names: list[str | int], wanted: dict[str, Axis], fallback: Mapping[str, str], replaced: Mapping[str, str]
) -> tuple[list[str | int], dict[str, Axis]]:
    """Return the workloads to run and the rest of the filter.

    A filter may name a workload of the matrix, which may then be replaced, or the replacement itself, which
    is then used.
    """
    wanted_names = wanted.get("workload")
    patterns = [str(pattern) for pattern in wanted_names] if isinstance(wanted_names, list) else []
    kept = [name for name in names if meets(name, patterns)]
    if kept and all(any(meets(name, [pattern]) for name in names) for pattern in patterns):
        names, wanted = kept, {axis: value for axis, value in wanted.items() if axis != "workload"}
    elif not kept:
        requested = {old: new for old, new in fallback.items() if old in names and meets(new, patterns)}
        replaced = {**replaced, **requested}
    return [replaced.get(str(name), name) for name in names], wanted


def _exclude(
    path: Path, rules: Iterable[dict[str, Axis]], cells: list[Cell], left_out: Iterable[LeftOut]
) -> list[Cell]:
    """Return the cells that match no rule; a rule that matches none of `cells` is a mistake."""
    kept = cells
    for number, rule in enumerate(rules, 1):
        if not rule:
            raise MatrixError(f"{path}: exclude rule {number} must name an axis")
        patterns = patterns_of(f"{path}: exclude rule {number}", rule, cells, left_out)
        kept = [cell for cell in kept if not matches(cell, patterns)]
    return kept


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise MatrixError(f"{path}: larger than {_MAX_BYTES:,} bytes, the maximum for a matrix file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise MatrixError(f"{path}: line {line} is not UTF-8 text") from None


def _cell(point: tuple[str | int, ...]) -> Cell:
    fields: dict[str, Any] = {
        axis.name.replace(".", "_"): value for axis, value in zip(AXES, point, strict=True)
    }
    row = WORKLOADS.parse(fields["workload"]).row
    if fields["train_batch_size"] == 0:
        fields["train_batch_size"] = row.batch_size
    if row.inference_only:
        fields["optimizer"] = NO_OPTIMIZER
    elif fields["optimizer"] == TUNED:
        fields["optimizer"] = OPTIMIZERS.parse(row.optimizer).text
    return Cell(**fields)


def _fallback(path: Path, name: str) -> str:
    try:
        return WORKLOADS.parse(name).text
    except TechniqueError as error:
        raise MatrixError(f"{path}: [fallback] {error}") from None
