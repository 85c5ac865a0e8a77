"""Plug-in files: Python that adds rows to the tables, run by path in the runner and in each worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.errors import BenchError
from techniques.registry import load_file


def load_plugins(paths: Iterable[Path]) -> dict[str, str]:
    """Run each file; return the SHA-256 of each by its absolute path. Raises BenchError on a broken one."""
    return {str(path.resolve()): _load(path) for path in paths}


def reload_plugins(plugins: Mapping[str, str]) -> None:
    """Run the plug-ins of a request; raises BenchError where one is not the file it was."""
    for path, sha256 in plugins.items():
        if _load(Path(path)) != sha256:
            raise BenchError(f"{path}: changed since the run began; start the run again")


def _load(path: Path) -> str:
    try:
        load_file(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BenchError(f"plug-in {path}: {what}") from error
