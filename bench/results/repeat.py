"""The command that measures a cell of a run again, in a run of its own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def filter_text(axes: Mapping[str, Any]) -> str:
    """Return the `--filter` that selects one cell."""
    return ",".join(f"{axis}={value}" for axis, value in axes.items())


def words_around_filter(run: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the words of the command before the text of `--filter`, and those after it."""
    request = run["request"]
    matrix = request.get("matrix_path") or run["matrix"]
    before = ["python", "-m", "bench", "run", "--matrix", str(matrix), "--filter"]
    after = ["--rebuild"]
    after += [word for path in request.get("plugins", {}) for word in ("--plugin", path)]
    after += [word for path in request.get("trusted", ()) for word in ("--trust", path)]
    after += ["--smoke"] if request.get("smoke") else []
    return before, after


def repeat_command(
    run: Mapping[str, Any], axes: Mapping[str, Any], results: Path, store_url: str = ""
) -> str:
    """Return the command that makes a cell's records and artifacts again, in a run of its own."""
    before, after = words_around_filter(run)
    words = [*before, filter_text(axes), *after]
    words += ["--results", str(results.resolve())]
    words += ["--store", store_url] if store_url else []
    return shlex.join(words)
