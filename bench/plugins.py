"""Plug-in files: Python that adds rows to the tables, run by path in the runner and in each worker."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.workloads import WORKLOADS
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS
from techniques.optimizers import OPTIMIZERS
from techniques.parallel import PARALLELS
from techniques.regime import AVERAGES, CLIPS, SCHEDULES
from techniques.registry import Registry, TechniqueError, load_file, load_reference

_TABLES: tuple[Registry[Any], ...] = (
    *(OPTIMIZERS, SCHEDULES, CLIPS, AVERAGES, PARALLELS),
    *(COMPRESSIONS, BACKENDS, WORKLOADS),
)


def load_plugins(paths: Iterable[Path]) -> dict[str, str]:
    """Run each file; return the SHA-256 of each by its absolute path.

    Raises BenchError if a file is broken, or if a row that it adds refers to something that does not exist.
    """
    loaded: dict[str, str] = {}
    for path in paths:
        before = _row_names()
        loaded[str(path.resolve())] = _load(path)
        for table, name in _row_names() - before:
            _try_reference(path, _TABLES[table], name)
    return loaded


def needed_packages() -> tuple[str, ...]:
    """Return the packages that any row of the tables needs, by the names they are imported under."""
    rows = (row for table in _TABLES for row in table.rows().values())
    return tuple(sorted({package for row in rows for package in row.needs}))


def reload_plugins(plugins: Mapping[str, str]) -> None:
    """Run the plug-ins of a request; raises BenchError if a file has changed."""
    for path, sha256 in plugins.items():
        if _load(Path(path)) != sha256:
            raise BenchError(f"{path}: changed since the run began; start the run again")


def _load(path: Path) -> str:
    if not path.is_file():
        raise BenchError(f"plug-in {path}: no such file")
    try:
        load_file(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (Exception, SystemExit) as error:
        raise BenchError(f"plug-in {path}{_line_of(path, error)}: {first_line(error)}") from error


def _row_names() -> set[tuple[int, str]]:
    return {(table, name) for table, registry in enumerate(_TABLES) for name in registry.rows()}


def _try_reference(path: Path, registry: Registry[Any], name: str) -> None:
    row = registry.get(name)
    if row.unavailable():
        return
    where = f"plug-in {path}: {registry.axis} {name!r}"
    try:
        found = load_reference(row.implementation)
    except (Exception, SystemExit) as error:
        raise BenchError(f"{where}: {first_line(error)}") from error
    if not callable(found) and not (registry is WORKLOADS and _is_workload(found)):
        what = "a Workload or a function that returns one" if registry is WORKLOADS else "a function or class"
        raise BenchError(f"{where}: {row.implementation} must be {what}")


def _is_workload(found: object) -> bool:
    from bench.workloads.workload import Workload  # imports torch, as whoever made one has

    return isinstance(found, Workload)


def first_line(error: BaseException) -> str:
    """Return an error's first line, with its class unless it is one of this suite."""
    text = str(error) if isinstance(error, TechniqueError) else f"{type(error).__name__}: {error}"
    return (text.splitlines() or [""])[0]


def _line_of(path: Path, error: BaseException) -> str:
    """Return `, line 3` if the error was raised in the file itself."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve()]
    return f", line {lines[-1]}" if lines else ""
