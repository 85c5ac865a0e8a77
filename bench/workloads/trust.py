"""The files that the user trusts by `--trust`: they are loaded even if that runs code in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.errors import BenchError

_trusted: set[Path] = set()


def trust(files: Iterable[str | Path]) -> tuple[str, ...]:
    """Trust these files in this process; return their absolute paths.

    Raises BenchError where one is missing.
    """
    paths = [Path(file).expanduser() for file in files]
    for path in paths:
        if not path.is_file():
            raise BenchError(f"--trust {path}: no such file")
    resolved = [path.resolve() for path in paths]
    _trusted.update(resolved)
    return tuple(map(str, resolved))


def is_trusted(file: Path) -> bool:
    """Say whether the user said to trust this file."""
    return file.resolve() in _trusted
