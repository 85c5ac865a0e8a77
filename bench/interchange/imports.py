"""Files of other tools as runs in the store: the table of formats, and how a run is entered.

A benchmark becomes a stage of the kind `imported`, and a cell of the same name without axes. Its launches are
the processes that the file tells of.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import read_json
from bench.formatting import counted
from bench.interchange import asv, hyperfine, pytest_benchmark
from bench.interchange.imported import Benchmark, ImportedRun
from bench.records import PlannedRequest
from bench.results.folder import alone_in, run_name
from bench.results.store import CellRow, Launch, StageRow, Store
from techniques.registry import first_few, nearest

KIND = "imported"
MAX_BYTES = 2**28
MAX_LAUNCHES = 1000
"""Launches of a benchmark that are entered: as many as a baseline keeps."""


@dataclass(frozen=True)
class ImportFormat:
    """A format: `fits` looks at a JSON file's content, `read` returns the run that it holds."""

    fits: Callable[[Any], bool]
    read: Callable[[Any, Path], ImportedRun]
    about: str


IMPORTS: Mapping[str, ImportFormat] = {
    pytest_benchmark.NAME: ImportFormat(
        pytest_benchmark.fits, pytest_benchmark.read, "`pytest --benchmark-json FILE`"
    ),
    asv.NAME: ImportFormat(asv.fits, asv.read, "results/MACHINE/COMMIT-ENVIRONMENT.json of asv"),
    hyperfine.NAME: ImportFormat(hyperfine.fits, hyperfine.read, "`hyperfine --export-json FILE`"),
}
"""The formats by name; a file is of the first that fits it."""


@dataclass(frozen=True)
class Entered:
    """A run that was entered: its id, what it holds in one line, and notes on what it cannot tell."""

    run_id: str
    text: str
    notes: tuple[str, ...]


def enter_file(
    path: Path, results: Path, store_url: str = "", format_name: str = "", machine: str = ""
) -> Entered:
    """Enter a file as a finished run; its format is guessed where it is not named.

    `machine` names the machine that it was measured on, for a file that does not, or says it otherwise.
    Raises BenchError where the file cannot be read, is of no known format, or is a run already.
    """
    content, digest = _content(path)
    name = _format_of(content, path, format_name)
    try:
        found = IMPORTS[name].read(content, path)
    except BenchError as error:
        raise BenchError(f"{path}: {error}") from None
    benchmarks = tuple(_bounded(_with_unique_names(found.benchmarks)))
    if not benchmarks:
        raise BenchError(f"{path}: has no benchmark that can be read{_because(found.notes)}")
    notes = (*found.notes, *_notes_of(found, benchmarks, machine))
    environment = _environment(found, machine, name, path, digest)
    with alone_in(results.resolve()):
        store = Store.open(results, store_url)
        try:
            run_id = _enter(store, path, name, digest, found.started_s, benchmarks, environment, notes)
        finally:
            store.close()
    launches = sum(len(entry.launches) for entry in benchmarks)
    what = f"{counted(len(benchmarks), 'benchmark')}, {counted(launches, 'launch')}"
    return Entered(run_id, f"{what}, from {path} ({name})", notes)


def _content(path: Path) -> tuple[Any, str]:
    """Return what a JSON file holds, and a digest of it."""
    try:
        content = read_json(path, MAX_BYTES)
        return content, hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise BenchError(f"{path}: must be a JSON file: {error}") from None


def _format_of(content: Any, path: Path, name: str) -> str:
    if name:
        if name not in IMPORTS:
            near = nearest(name, IMPORTS)
            raise BenchError(f"--format must be one of {', '.join(IMPORTS)}, got {name!r}{near}")
        return name
    fitting = next((name for name, row in IMPORTS.items() if row.fits(content)), "")
    if not fitting:
        raise BenchError(f"{path}: no file of {', '.join(IMPORTS)}")
    return fitting


def _with_unique_names(benchmarks: Iterable[Benchmark]) -> Iterator[Benchmark]:
    """Number the benchmarks of one name: a cell and a stage have a name of their own."""
    seen: Counter[str] = Counter()
    for benchmark in benchmarks:
        seen[benchmark.name] += 1
        number = seen[benchmark.name]
        yield replace(benchmark, name=f"{benchmark.name} ({number})") if number > 1 else benchmark


def _bounded(benchmarks: Iterable[Benchmark]) -> Iterator[Benchmark]:
    for benchmark in benchmarks:
        yield replace(benchmark, launches=benchmark.launches[:MAX_LAUNCHES])


def _because(notes: tuple[str, ...]) -> str:
    return f": {first_few(notes)}" if notes else ""


def _notes_of(found: ImportedRun, kept: tuple[Benchmark, ...], machine: str) -> Iterator[str]:
    if not found.cpu and not machine:
        yield (
            "the file does not name the machine, so its times are compared with those of no other run; "
            "--machine NAME says it"
        )
    cut = [entry.name for entry in found.benchmarks if len(entry.launches) > MAX_LAUNCHES]
    if cut:
        yield f"only the first {MAX_LAUNCHES:,} launches are kept of {first_few(cut)}"
    single = [entry.name for entry in kept if len(entry.launches) == 1]
    if single:
        yield (
            f"{len(single):,} of {counted(len(kept), 'benchmark')} come from one process each: nothing says "
            "how much launches differ"
        )


def _environment(found: ImportedRun, machine: str, tool: str, path: Path, digest: str) -> dict[str, Any]:
    """Return the environment that the file tells of; an unknown machine is like no other."""
    unknown = {"model": f"unknown machine of {path.name}, {digest[:12]}"}
    cpu = {"model": machine} if machine else dict(found.cpu) or unknown
    return {"cpu": cpu, **found.environment, "imported_from": tool}


def _enter(
    store: Store,
    path: Path,
    tool: str,
    digest: str,
    started_s: float | None,
    benchmarks: tuple[Benchmark, ...],
    environment: Mapping[str, Any],
    notes: tuple[str, ...],
) -> str:
    identity = _digest(f"import {digest} {environment['cpu']}")
    runs = store.runs()
    known = [str(run_id) for run_id in runs[runs["identity"] == identity]["id"]]
    if known:
        raise BenchError(f"{path}: is run {known[0]} already; `bench show NAME --run {known[0]}` shows it")
    stages = [_stage(tool, benchmark.name) for benchmark in benchmarks]
    moment = time.localtime(started_s)
    return store.add_run(
        f"{time.strftime('%Y%m%d-%H%M%S', moment)}-{run_name(tool)}",
        identity,
        tool,
        shlex.join(["python", "-m", "bench", "import", str(path), "--format", tool]),
        {"notes": list(notes), KIND: {"tool": tool, "file": str(path.resolve()), "sha256": digest}},
        stages,
        [CellRow(stage.label, {}, {KIND: stage.key}) for stage in stages],
        _launches(stages, benchmarks, environment),
        started_s=started_s,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()  # JSON may hold half a pair


def _stage(tool: str, name: str) -> StageRow:
    key = _digest(f"{KIND} {tool} {name}")
    return StageRow(key, KIND, name, True, (), PlannedRequest({"tool": tool}))


def _launches(
    stages: Iterable[StageRow], benchmarks: Iterable[Benchmark], environment: Mapping[str, Any]
) -> Iterator[Launch]:
    for stage, benchmark in zip(stages, benchmarks, strict=True):
        for round_, result in enumerate(benchmark.launches):
            yield Launch(stage.key, round_, replace(result, environment=environment), reused=False)
