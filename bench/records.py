"""What a stage found, as plain data: it travels from worker to runner as JSON and rests in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["ok", "failed", "oom", "timeout", "diverged", "killed", "skipped"]
"""How a launch ended. `killed` came from outside and is tried again; the rest but `ok` stand."""


STRUCTURE, ANY_BATCH = "structure", "any batch size"
"""The metric whose method is the digest of what was observed of an artifact, and its qualifier where calls,
which depend on the size of their batches, are no part of it."""


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

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in (None, "", ())} | {
            "metric": self.metric,
            "value": self.value,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Measurement:
        return cls(**{**entry, "samples": tuple(entry.get("samples", ()))})


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
    artifact: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "measurements": [entry.to_json() for entry in self.measurements]}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Result:
        measurements = tuple(Measurement.from_json(item) for item in entry["measurements"])
        return cls(**{**entry, "measurements": measurements})


@dataclass(frozen=True)
class Request:
    """All that a worker needs to know, beside the artifact folder in `results`.

    `settings` are the stage's own; `parents` map a role, as `model` or `lowered`, to the key of an artifact;
    `plugins` map the path of a plug-in file to the SHA-256 of its content. `threads` and `cpus` are what the
    stage may use, `memory_bytes` bounds its data segment, and it is killed after `timeout_s`. `all_passes`
    asks a timed stage for every probe's pass, not only the clock's. `trusted` are files that may run code.
    """

    kind: str
    key: str
    label: str
    settings: Mapping[str, Any]
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

    @classmethod
    def planned(cls, kind: str, key: str, label: str, planned: Mapping[str, Any], **launch: Any) -> Request:
        """Return the request of a stage from what was planned of it; `launch` has the other fields."""
        return cls(
            kind=kind,
            key=key,
            label=label,
            settings=planned["settings"],
            parents=planned["parents"],
            imports=(*planned["server_imports"], *planned["worker_imports"]),
            device=planned["device"],
            fork_safe=planned["fork_safe"],
            **launch,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Request:
        cpus = tuple(int(cpu) for cpu in entry["cpus"])
        tuples = {
            "imports": tuple(entry["imports"]),
            "cpus": cpus,
            "trusted": tuple(entry.get("trusted", ())),
        }
        return cls(**{**entry, **tuples})
