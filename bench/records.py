"""What travels between the runner and its workers as JSON, and rests in the store and beside artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

State = Literal["ok", "failed", "oom", "timeout", "diverged", "killed", "skipped"]
"""How a launch ended. `killed` came from outside and is tried again; the rest but `ok` stand."""

STRUCTURE, ANY_BATCH = "structure", "any batch size"
"""The metric whose method is the digest of what was observed of an artifact, and its qualifier where calls,
which depend on the size of their batches, are no part of it."""

RecordT = TypeVar("RecordT")
SettingsT = TypeVar("SettingsT", covariant=True)


@dataclass(frozen=True)
class Measurement:
    """One value of one metric, from one launch.

    `value` is None where it is unknown, and `reason` then says why. `low` and `high` bound the launch's own
    95 % interval, from `n` samples by `method`. `qualifier` tells values of one metric apart, as the moments
    `before`, `pruned`, `recovered` of a compression. `samples` are the raw samples in the metric's unit.
    """

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    method: str = ""
    reason: str = ""
    qualifier: str = ""
    samples: tuple[float, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """The files that a stage left: a SHA-256 over them, their bytes, and when they were made (Unix time)."""

    sha256: str
    bytes: int
    created_s: float


@dataclass(frozen=True)
class Result:
    """What came back from one launch of one stage.

    `wall_s` is from the request to the result, `body_s` the stage's own work inside it. `dynamic` is what
    disturbed the launch: load, pressure, context switches.
    """

    state: State
    reason: str = ""
    output_tail: str = ""
    start_s: float = 0.0
    wall_s: float = 0.0
    body_s: float = 0.0
    measurements: tuple[Measurement, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    dynamic: Mapping[str, Any] = field(default_factory=dict)
    artifact: Artifact | None = None


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """What is known of a stage's request when it is planned.

    `settings` are those of its kind, as JSON; `parents` map a role, as `model` or `lowered`, to the key of an
    artifact. `server_imports` are imported once by the fork server, `worker_imports` by each worker.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    fork_safe: bool = True
    server_imports: tuple[str, ...] = ()
    worker_imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request(Generic[SettingsT]):
    """All that a worker needs to know, beside the artifact folder in `results`.

    `settings` are the stage's own: JSON on the way, an object of its kind's class in the worker. `plugins`
    map the path of a plug-in file to the SHA-256 of its content. `threads` and `cpus` are what the stage may
    use, `memory_bytes` bounds its data segment, and it is killed after `timeout_s`. `all_passes` asks a timed
    stage for every probe's pass, not only the clock's. `trusted` are files that may run code.
    """

    kind: str
    key: str
    label: str
    settings: SettingsT
    parents: Mapping[str, str]
    plugins: Mapping[str, str]
    imports: tuple[str, ...]
    results: str
    run_id: str
    round: int
    device: str
    threads: int
    cpus: tuple[int, ...]
    memory_bytes: int
    timeout_s: float
    fork_safe: bool = True
    smoke: bool = False
    all_passes: bool = False
    trusted: tuple[str, ...] = ()


def as_json(record: object, *, whole: bool = False) -> dict[str, Any]:
    """Return a dataclass as JSON has it; fields at their defaults are left out unless it is to be `whole`."""
    found: dict[str, Any] = _adapter(type(record)).dump_python(record, exclude_defaults=not whole)
    return found


def read_as(class_: type[RecordT], content: object) -> RecordT:
    """Return JSON as a dataclass; raises ValueError where it does not fit."""
    record: RecordT = _adapter(class_).validate_python(content)
    return record


def _adapter(class_: type) -> Any:
    """Return what reads and writes a class; making one takes milliseconds, so each is made once."""
    if class_ not in _ADAPTERS:
        from pydantic import TypeAdapter

        _ADAPTERS[class_] = TypeAdapter(class_)
    return _ADAPTERS[class_]


_ADAPTERS: dict[type, Any] = {}
