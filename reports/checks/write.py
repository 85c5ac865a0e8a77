"""Writes a comparison wherever a command was asked to, and where a CI server looks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.files import replace_file
from bench.formatting import say as print_visibly
from bench.regression.finding import Code, Comparison
from reports.checks import github, json, junit, markdown, terminal

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""The environment variable that names the file of a step's summary in GitHub's Actions."""


@dataclass(frozen=True)
class Outputs:
    """The files that a comparison is written to; with `strict`, the exit code is 3 where it can't tell."""

    json: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None
    strict: bool = False


def write(
    comparison: Comparison,
    outputs: Outputs,
    say: Callable[[str], object] = print_visibly,
    environment: Mapping[str, str] = os.environ,
) -> Code:
    """Print a comparison, write its files, and return the exit code: 0, 1, or 3 if it is strict.

    Where the `environment` says that this is a step of GitHub's Actions, annotations are printed and the
    step's summary is written, unasked. Raises BenchError on a file that cannot be written.
    """
    in_github = environment.get("GITHUB_ACTIONS") == "true"
    for line in github.as_text(terminal.lines(comparison)) if in_github else terminal.lines(comparison):
        say(line)
    if outputs.json:
        _replace(outputs.json, json.render(comparison, strict=outputs.strict))
    if outputs.junit:
        _replace(outputs.junit, junit.render(comparison))
    if outputs.markdown:
        _replace(outputs.markdown, markdown.render(comparison).encode())
    if in_github:
        for line in github.lines(comparison):
            say(line)
        if environment.get(SUMMARY_VARIABLE):
            _append(Path(environment[SUMMARY_VARIABLE]), markdown.render(comparison))
    return comparison.exit_code(outputs.strict)


def _replace(path: Path, data: bytes) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise BenchError(f"{path}: must be a file or a new name, not a link, a folder or a device")
    try:
        replace_file(path, data)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written: {error.strerror or error}") from None


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written: {error.strerror or error}") from None
