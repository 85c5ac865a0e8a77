"""A matrix and the cells it spans: the union of its crosses.

The optimizer `"tuned"` is that of each workload's own row. The value `"*"` selects everything registered for
an axis; what cannot run here is skipped with the reason. The backend `"auto"` selects every backend that runs
here, in `[train]` every one that can also train, in the table's order; what it leaves out is listed with the
reason. Both may be part of a list. A matrix with `"auto"` spans different cells on another machine, so its
run there is a different run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bench.errors import MatrixError
from bench.matrix.axes import Axis
from bench.matrix.cells import Cell, Matrix
from bench.matrix.file import Cross, Generation, MatrixFile, parse_matrix_file
from bench.matrix.filters import chosen_of, meets, parse_filter, patterns_of
from bench.matrix.limits import Limit, parse_limit
from bench.matrix.shipped import shipped_matrices
from bench.matrix.spans import Span, exclude, others_of
from bench.matrix.tuning import DEFAULTS
from bench.workloads import WORKLOADS
from techniques.optimizers import OPTIMIZERS
from techniques.registry import TechniqueError, nearest

ValueT = TypeVar("ValueT")

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
    spans = [Span.of(where, cross, workloads) for where, cross in _crosses(path, content)]
    left_out = list(dict.fromkeys(out for span in spans for out in span.left_out))
    fallback = {
        _named(path, "fallback", old): _named(path, "fallback", new) for old, new in content.fallback.items()
    }
    wanted = parse_filter(filter_text) if filter_text else {}
    names = list(dict.fromkeys(name for span in spans for name in span.values["workload"]))
    chosen_workloads, wanted = _choose_workloads(names, wanted, fallback, substitutes or {})
    count = sum(span.count for span in spans)
    if count > _MAX_CELLS:
        raise MatrixError(f"{path}: spans {count:,} cells, the maximum is {_MAX_CELLS:,}; split the file")
    of_spans = [dict.fromkeys(span.cells(chosen_workloads)) for span in spans]
    united = {cell: None for cells in of_spans for cell in cells}
    rules = content.exclude if content.cross else []
    cells = exclude(str(path), rules, list(united), spans)
    limits = tuple(_limits(path, content, united, _others(spans, names)))
    chosen = patterns_of("--filter", wanted, united, others_of(spans))
    cells = chosen_of(cells, chosen)
    further = chosen_of(_further(str(path), rules, spans, chosen_workloads, united), chosen)
    left_out = [out for out in left_out if meets(out.value, chosen.get(out.axis, ["*"]))]
    _check_defaults(path, cells)
    if not cells:
        problem = f"no cell matches --filter {filter_text!r}" if filter_text else "every cell is excluded"
        reasons = [str(out) for out in left_out if out.axis in chosen]
        raise MatrixError("; ".join([f"{path}: {problem}", *reasons]))
    return Matrix(
        path.stem,
        content.about,
        tuple(cells),
        content.budget,
        fallback,
        text,
        content.prices,
        content.estimate,
        content.server,
        content.peaks,
        tuple(left_out),
        tuple(_counted(spans, of_spans, cells) if content.cross else ()),
        targets=_of_workloads(path, "targets", content.targets),
        evaluations_per_epoch=_of_workloads(path, "evaluations_per_epoch", content.evaluations_per_epoch),
        limits=limits,
        generation=_generation(path, content),
        serves=bool(content.infer or any(cross.infer for cross in content.cross)),
        evaluate=content.evaluate,
        further=tuple(further),
        leaves_out=content.leaves_out,
    )


def _further(
    where: str,
    rules: Sequence[Mapping[str, Axis]],
    spans: Sequence[Span],
    workloads: Mapping[str | int, str | int],
    united: Collection[Cell],
) -> list[Cell]:
    """Return the cells that there would be too with the packages that `auto` misses."""
    completed = [whole for span in spans if (whole := span.completed()) and whole.count <= _MAX_CELLS]
    more = [
        cell
        for cell in dict.fromkeys(cell for whole in completed for cell in whole.cells(workloads))
        if cell not in united
    ]
    # Rules are held against all cells, since they may name values that none of the further ones has.
    kept = exclude(where, rules, [*united, *more], spans) if more and rules else more
    return [cell for cell in kept if cell not in united]


def _others(spans: Sequence[Span], workloads: Sequence[str | int]) -> dict[str, set[str]]:
    """Return what a limit may name besides values of cells: workloads that a filter leaves out, too."""
    others = others_of(spans)
    return {**others, "workload": {*others.get("workload", set()), *map(str, workloads)}}


def _limits(
    path: Path, content: MatrixFile, cells: Collection[Cell], others: Mapping[str, set[str]]
) -> Iterator[Limit]:
    """Yield the limits of a file; `others` are values that no cell has and that may be named all the same."""
    for number, table in enumerate(content.limits, 1):
        place = f"{path}: limits {number}"
        rule = parse_filter(table.where, f"{place}: where") if table.where.strip() else {}
        patterns = patterns_of(f"{place}: where", rule, cells, others)
        for text in table.require:
            yield parse_limit(text, place, patterns)


def _check_defaults(path: Path, cells: Sequence[Cell]) -> None:
    """Raise MatrixError where a cell asks for the defaults of an optimizer and writes others."""
    for name in dict.fromkeys(cell.optimizer for cell in cells if cell.tuning == DEFAULTS):
        bare = OPTIMIZERS.default(OPTIMIZERS.parse(name).name).text
        if name != bare:
            raise MatrixError(
                f'{path}: [train] tuning = "{DEFAULTS}" takes an optimizer without settings, got {name!r}; '
                f"write {bare!r}, or exclude the pair"
            )


def _counted(
    spans: Sequence[Span], of_spans: Sequence[Mapping[Cell, None]], cells: Sequence[Cell]
) -> Iterator[tuple[str, int]]:
    """Yield what each cross is about, and how many cells of it are among those that are kept."""
    kept = set(cells)
    for number, (span, own) in enumerate(zip(spans, of_spans, strict=True), 1):
        yield span.about or f"cross {number}", sum(cell in kept for cell in own)


def _crosses(path: Path, content: MatrixFile) -> Iterator[tuple[str, Cross]]:
    """Yield each cross of the file with its place for messages: that at the top, then `[[cross]]`."""
    if content.train:
        rules = [] if content.cross else content.exclude
        yield str(path), Cross(train=content.train, infer=content.infer, zip=content.zip, exclude=rules)
    for number, cross in enumerate(content.cross, 1):
        yield f"{path}: cross {number}", cross


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
) -> tuple[dict[str | int, str | int], dict[str, Axis]]:
    """Return the workloads to run, each with what replaces it or itself, and the rest of the filter.

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
    return {name: replaced.get(str(name), name) for name in names}, wanted


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise MatrixError(f"{path}: larger than {_MAX_BYTES:,} bytes, the maximum for a matrix file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise MatrixError(f"{path}: line {line} is not UTF-8 text") from None


def _generation(path: Path, content: MatrixFile) -> Generation | None:
    """Return how text is generated, with the drafts' workloads in canonical spelling."""
    if content.generation is None:
        return None
    names = [_named(path, "generation", name) for name in content.generation.drafts]
    silent = [name for name in names if not WORKLOADS.parse(name).row.generates]
    if silent:
        raise MatrixError(f"{path}: [generation] drafts: {silent[0]!r} does not continue texts")
    return content.generation.model_copy(update={"drafts": names})


def _of_workloads(path: Path, section: str, values: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """Return the values of a section by the full names of its workloads."""
    return {_named(path, section, name): value for name, value in values.items()}


def _named(path: Path, section: str, workload: str) -> str:
    try:
        return WORKLOADS.parse(workload).text
    except TechniqueError as error:
        raise MatrixError(f"{path}: [{section}] {error}") from None
