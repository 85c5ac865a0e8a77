"""asv's results, version 2: `results/MACHINE/COMMIT-ENVIRONMENT.json`.

The format is described in asv's manual, "Developer docs: File formats", and written by `asv/results.py`. A
row of `results` has a value for each of `result_columns`, the last ones left out where there are none; each
value has an entry for each combination of the benchmark's parameters. What a benchmark measures is told by
its name: `time_`, `timeraw_`, `mem_`, `peakmem_` or `track_`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from bench.interchange.imported import (
    Benchmark,
    ImportedRun,
    Seconds,
    checked,
    failed,
    is_number,
    launch,
    one_process,
    refuse,
)
from bench.records import Measurement, Result

NAME = "asv"
VERSION = 2

_METRICS = (
    (r"timeraw_|Timeraw[A-Z_]", "imported_s"),
    (r"time_|Time[A-Z_]", "imported_s"),
    (r"peakmem_|PeakMem[A-Z_]", "peak_rss_bytes"),
    (r"mem_|Mem[A-Z_]", "imported_bytes"),
    (r"track_|Track[A-Z_]", "imported_value"),
)
"""How the names of asv's kinds of benchmarks begin → the metric that such a benchmark measures."""

_NUMBERS: TypeAdapter[list[float]] = TypeAdapter(list[Seconds])
_MAX_COMBINATIONS = 100_000

_Milliseconds = Annotated[float, Field(ge=0, le=2.5e14, allow_inf_nan=False)]


class _File(BaseModel):
    version: int
    commit_hash: str
    date: _Milliseconds | None = None
    env_name: str = ""
    params: dict[str, Any] = {}
    python: str = ""
    requirements: dict[str, Any] = {}
    result_columns: list[str]
    results: Annotated[dict[str, list[Any]], Field(min_length=1)]


def fits(content: Any) -> bool:
    """Say whether the content of a JSON file looks like asv's results."""
    return isinstance(content, dict) and isinstance(content.get("results"), dict) and "commit_hash" in content


def read(content: Any, path: Path) -> ImportedRun:
    """Return the benchmarks of a file, one for each combination of parameters.

    Raises BenchError where it is not asv's, or is of another version.
    """
    if fits(content) and content.get("version") != VERSION:
        refuse(
            NAME, f"its version must be {VERSION}, got {content.get('version')!r}; `asv update` upgrades it"
        )
    file = checked(_File, content, NAME)
    rows = {name: dict(zip(file.result_columns, row, strict=False)) for name, row in file.results.items()}
    unknown = [name for name in rows if not _metric(name)]
    started = [_started_s(row) for row in rows.values()]
    known = [moment for moment in started if moment is not None]
    return ImportedRun(
        tuple(entry for name, row in rows.items() if name not in unknown for entry in _benchmarks(name, row)),
        cpu=_cpu(file.params),
        environment={
            **{name: str(file.params[name]) for name in ("machine", "os", "ram") if file.params.get(name)},
            **({"python": file.python} if file.python else {}),
            "libraries": {name: str(version or "") for name, version in file.requirements.items()},
            "git": {"revision": file.commit_hash, "changed": False},
        },
        started_s=min(known) if known else file.date and file.date / 1e3,
        notes=(
            *(f"{name}: left out, its name does not say what it measures" for name in unknown),
            *(
                ()
                if known
                else ("the file does not say when it was measured: its commit's time stands for it",)
            ),
        ),
    )


def _cpu(params: Mapping[str, Any]) -> dict[str, str]:
    if not params.get("cpu"):
        return {"model": f"machine {params['machine']}"} if params.get("machine") else {}
    return {"model": str(params["cpu"])} | {
        own: str(params[name]) for name, own in (("arch", "arch"), ("num_cpu", "cores")) if params.get(name)
    }


def _metric(name: str) -> str:
    """Return the metric that a benchmark of that name measures, empty where it says none."""
    function = name.rpartition(".")[2]
    return next((metric for beginning, metric in _METRICS if re.match(beginning, function)), "")


def _started_s(row: Mapping[str, Any]) -> float | None:
    moment = row.get("started_at")
    return moment / 1e3 if isinstance(moment, int | float) and 0 < moment < 2.5e14 else None


def _benchmarks(name: str, row: Mapping[str, Any]) -> Iterator[Benchmark]:
    axes = row.get("params") or []
    if not isinstance(axes, list) or not all(isinstance(axis, list) for axis in axes):
        refuse(NAME, f"{name}: its params must be lists of values")
    if math.prod(map(len, axes)) > _MAX_COMBINATIONS:
        refuse(NAME, f"{name}: has more than {_MAX_COMBINATIONS:,} combinations of parameters")
    combinations = list(itertools.product(*axes))
    columns = {column: _column(name, row, column, len(combinations)) for column in _PER_COMBINATION}
    for number, combination in enumerate(combinations):
        value = columns["result"][number]
        if isinstance(value, float) and math.isnan(value):
            continue  # skipped by the benchmark itself
        label = f"{name}({', '.join(map(str, combination))})" if combination else name
        entries = {column: values[number] for column, values in columns.items()}
        yield Benchmark(label, (_launch(name, entries, _started_s(row)),))


_PER_COMBINATION = ("result", "stats_ci_99_a", "stats_ci_99_b", "stats_repeat", "samples")


def _column(name: str, row: Mapping[str, Any], column: str, count: int) -> list[Any]:
    """Return a column's entry for each combination of parameters; None where asv has none."""
    values = row.get(column)
    if values is None:
        return [None] * count
    if not isinstance(values, list) or len(values) != count:
        refuse(NAME, f"{name}: {column} must have {count:,} entries, one for each combination of parameters")
    return values


def _launch(name: str, entries: Mapping[str, Any], started_s: float | None) -> Result:
    value = entries["result"]
    if value is None:
        return failed("asv has no result: the benchmark failed or ran out of time", started_s)
    if not is_number(value):
        refuse(NAME, f"{name}: its result must be a number, got {value!r}")
    metric = _metric(name)
    if entries["samples"] is not None and metric == "imported_s":
        return launch(one_process(_numbers(name, entries["samples"]), "median of samples, by asv"), started_s)
    low, high = (entries[f"stats_ci_99_{end}"] for end in "ab")
    if not is_number(low) or not is_number(high):
        low = high = None
    method = "by asv" if low is None else "by asv, with its 99 % interval"
    repeat = entries["stats_repeat"]
    n = int(repeat) if is_number(repeat) and 1 <= repeat <= 2**53 else None
    return launch([Measurement(metric, float(value), low, high, n, method)], started_s)


def _numbers(name: str, samples: Any) -> list[float]:
    try:
        found = _NUMBERS.validate_python(samples)
    except ValidationError:
        found = []
    if not found:
        refuse(NAME, f"{name}: its samples must be a list of numbers of seconds")
    return found
