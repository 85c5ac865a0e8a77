"""What a stage found, as plain data: it travels from worker to runner as JSON and rests in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["ok", "failed", "oom", "timeout", "diverged", "killed", "skipped"]
"""How a launch ended. `killed` came from outside and is tried again; the rest but `ok` stand."""


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
