"""What a file of another tool comes to: its benchmarks, and the machine that it names."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, Field, ValidationError

from bench.analysis.statistics import sample_quantile
from bench.errors import BenchError
from bench.metrics import METRICS
from bench.records import Measurement, Result

MAX_DETAIL = 160

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark by its name, and the launches that its file tells of: each was a process of its own."""

    name: str
    launches: tuple[Result, ...]


@dataclass(frozen=True)
class ImportedRun:
    """What a file holds. `cpu` names the machine and is empty where the file does not.

    `environment` has what else the file says of it, under the names that our own records use. `started_s` is
    Unix time, None where it is unknown. `notes` say what was left out, and what the file cannot tell.
    """

    benchmarks: tuple[Benchmark, ...]
    cpu: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    started_s: float | None = None
    notes: tuple[str, ...] = ()


def checked(model: type[ModelT], content: Any, tool: str) -> ModelT:
    """Return a file's content as its format's model; raises BenchError, which does not name the path."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = ": ".join([".".join(map(str, first["loc"])), first["msg"]])
        raise BenchError(f"not a file of {tool}: {what[:MAX_DETAIL]}") from None


def refuse(tool: str, what: str) -> NoReturn:
    """Raise the BenchError of a file that is not as its format has it."""
    raise BenchError(f"not a file of {tool}: {what[:MAX_DETAIL]}")


def one_process(samples: Sequence[float], method: str) -> tuple[Measurement, ...]:
    """Measure the time of rounds, in seconds, that one process made: its median, and the fastest."""
    interval = sample_quantile(samples, 0.5)
    low, high = (interval.low, interval.high) if interval else (None, None)
    value = statistics.median(samples)
    return (
        Measurement("imported_s", value, low, high, len(samples), method, samples=tuple(samples)),
        Measurement("fastest_s", min(samples)),
    )


def launch(measurements: Sequence[Measurement], started_s: float | None = None) -> Result:
    """Return a launch that another tool made; what it took here is nothing."""
    return Result("ok", start_s=started_s or 0.0, measurements=tuple(measurements))


def failed(reason: str, started_s: float | None = None) -> Result:
    """Return a launch that another tool says has failed."""
    return Result("failed", reason=reason, start_s=started_s or 0.0)


def known_metrics(entries: Mapping[str, Any], method: str) -> list[Measurement]:
    """Return those of a file's further values that are named as metrics of ours, and are numbers."""
    return [
        Measurement(name, float(value), method=method)
        for name, value in entries.items()
        if is_number(value) and name in METRICS and not METRICS[name].curve
    ]


def is_number(value: Any) -> bool:
    """Say whether a value of JSON is a number that can be measured: no flag, finite, within 1e100."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e100
