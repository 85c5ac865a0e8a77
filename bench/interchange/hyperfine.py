"""hyperfine's `--export-json`: each time is that of a process of its own, so each is a launch.

The format is that of `BenchmarkResult` in hyperfine's source (src/benchmark/benchmark_result.rs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from bench.interchange.imported import Benchmark, ImportedRun, Seconds, checked, failed, launch
from bench.records import Measurement, Result

NAME = "hyperfine"


class _Command(BaseModel):
    command: str
    median: Seconds
    times: Annotated[list[Seconds], Field(min_length=1)] | None = None
    memory_usage_byte: list[Annotated[int, Field(ge=0, le=2**53)]] | None = None
    exit_codes: list[int | None] = []
    parameters: dict[str, str] = {}


class _File(BaseModel):
    results: Annotated[list[_Command], Field(min_length=1)]


def fits(content: Any) -> bool:
    """Say whether the content of a JSON file looks like hyperfine's."""
    return isinstance(content, dict) and isinstance(content.get("results"), list)


def read(content: Any, path: Path) -> ImportedRun:
    """Return the commands of a file; raises BenchError where it is not hyperfine's."""
    commands = checked(_File, content, NAME).results
    started_s = path.stat().st_mtime
    return ImportedRun(
        tuple(Benchmark(_name(command), tuple(_launches(command, started_s))) for command in commands),
        started_s=started_s,
        notes=(
            "the file does not say when it was measured: its own time stands for it",
            *_notes(commands),
        ),
    )


def _name(command: _Command) -> str:
    lacking = [
        f"{name}={value}" for name, value in command.parameters.items() if value not in command.command
    ]
    return f"{command.command} [{', '.join(lacking)}]" if lacking else command.command


def _notes(commands: Sequence[_Command]) -> Iterator[str]:
    for command in commands:
        if command.times is None:
            yield f"{_name(command)}: the file has no single times, only their median"


def _launches(command: _Command, started_s: float) -> Iterator[Result]:
    if command.times is None:
        median = Measurement("imported_s", command.median, method="median of processes, by hyperfine")
        yield launch([median], started_s)
        return
    count = len(command.times)
    memory = command.memory_usage_byte or []
    codes = command.exit_codes if len(command.exit_codes) == count else [0] * count
    peaks = memory if len(memory) == count else [0] * count
    for time_s, peak_bytes, code in zip(command.times, peaks, codes, strict=True):
        if code != 0:
            yield failed("ended by a signal" if code is None else f"exit code {code}", started_s)
            continue
        measured = [Measurement("imported_s", time_s, n=1, method="one process, by hyperfine")]
        if peak_bytes:
            measured.append(Measurement("peak_rss_bytes", float(peak_bytes), method="by hyperfine"))
        yield launch(measured, started_s)
