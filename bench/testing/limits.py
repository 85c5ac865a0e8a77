"""Limits by name, as `max_latency_ms=5`: what each is of, and whether a measured value keeps it.

A limit's name is `max_` or `min_`, then what is measured, then the unit. What is sampled is judged by the
interval over launches: broken where all of it is beyond the limit, kept where all of it is within, and
otherwise nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.errors import BenchError
from bench.formatting import three_digits
from bench.metrics import METRICS
from bench.regression.finding import Finding, Verdict
from reports.frames.view import Reading
from techniques.registry import nearest

NAMES: Mapping[str, str] = {
    "latency": "latency_s",
    "latency_p90": "latency_p90_s",
    "latency_p99": "latency_p99_s",
    "throughput": "throughput",
    "load": "load_s",
    "first_call": "first_call_s",
    "peak_rss": "peak_rss_bytes",
    "peak_tensor": "peak_tensor_bytes",
    "gpu_peak": "gpu_allocated_peak_bytes",
    "energy": "energy_j",
    "accuracy": "accuracy",
    "agreement": "reference_agreement",
    "flops": "dense_flops",
    "parameters": "parameters",
    "size": "artifact_bytes",
    "compressed_size": "artifact_compressed_bytes",
}
"""What can be limited → the metric that says it."""

_MEASURED_ONCE = frozenset({"peak_rss_bytes", "gpu_allocated_peak_bytes", "energy_j"})
"""Sampled metrics that only a timing's first launch measures: they are judged by that value."""

_UNITS: Mapping[str, Mapping[str, float]] = {
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6},
    "bytes": {
        **{"bytes": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9},
        **{"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30},
    },
    "J": {"j": 1.0, "mj": 1e-3},
}
"""Endings of names by the unit of the metric; metrics of any other unit have none."""

_SHOWN = {"us": "µs", "kb": "kB", "mb": "MB", "gb": "GB", "kib": "KiB", "mib": "MiB", "gib": "GiB", "j": "J"}


@dataclass(frozen=True)
class Limit:
    """A bound on a metric, as a test gives it: `bound` is in `unit`, which is `scale` of the metric's own."""

    name: str
    side: Literal["max", "min"]
    metric: str
    bound: float
    unit: str = ""
    scale: float = 1.0

    @property
    def text(self) -> str:
        """The limit as it was written."""
        return f"{self.name}={self.bound:g}"

    @property
    def repeated(self) -> bool:
        """Whether each launch measures it, so that there is an interval."""
        return METRICS[self.metric].kind == "sampled" and self.metric not in _MEASURED_ONCE

    def beyond(self, value: float) -> bool:
        """Say whether a value, in the metric's unit, breaks the limit."""
        bound = self.bound * self.scale
        return value > bound if self.side == "max" else value < bound

    def shown(self, value: float) -> str:
        """Return a value in the limit's own unit, without it; what is counted has all of its digits."""
        counted = METRICS[self.metric].unit in ("count", "FLOPs")
        return f"{value:,.0f}" if counted else three_digits(value / self.scale)


def known_names() -> list[str]:
    """Return what may follow `max_` and `min_`, with the usual unit."""
    usual = {"s": "_ms", "bytes": "_mb", "J": "_j"}
    return [name + usual.get(METRICS[metric].unit, "") for name, metric in NAMES.items()]


def read_limit(name: str, bound: Any) -> Limit:
    """Return the limit of that name; raises BenchError in one line that lists the known ones."""
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound < float("inf"):
        raise BenchError(f"bench: {name} must be a number from 0, got {bound!r}")
    found = dict(_readings_of(name))
    if name not in found:
        known = known_names()
        near = nearest(name, [side + entry for side in ("max_", "min_") for entry in known])
        meant = near if "did you mean" in near else ""
        raise BenchError(f"bench: unknown limit {name!r}{meant}; max_ and min_ take {', '.join(known)}")
    metric, unit, scale = found[name]
    return Limit(name, "max" if name.startswith("max_") else "min", metric, float(bound), unit, scale)


def _readings_of(name: str) -> Iterator[tuple[str, tuple[str, str, float]]]:
    """Yield every name with the side of this one: its metric, unit and scale."""
    side = name[:4]
    if side not in ("max_", "min_"):
        return
    for what, metric in NAMES.items():
        units = _UNITS.get(METRICS[metric].unit)
        if units is None:
            yield side + what, (metric, "", 1.0)
        for unit, scale in (units or {}).items():
            yield f"{side}{what}_{unit}", (metric, _SHOWN.get(unit, unit), scale)


def judge(limit: Limit, reading: Reading, doubt: str = "") -> Finding:
    """Say whether a reading keeps a limit.

    `doubt` says what a count of FLOPs lacks, or why launches give no valid timing.
    """
    verdict, why = _verdict(limit, reading, doubt)
    row = METRICS[limit.metric]
    text = f"{limit.text}: {row.label} {_measured(limit, reading)}"
    return Finding(
        verdict,
        row.stage,
        limit.metric,
        text + (f"; {why}" if why else ""),
        after=reading.value,
        limit=f"{'<=' if limit.side == 'max' else '>='} {limit.bound:g} {limit.unit}".rstrip(),
    )


def _verdict(limit: Limit, reading: Reading, doubt: str) -> tuple[Verdict, str]:
    if reading.value is None:
        return "can't tell", reading.reason or "it was not measured"
    if not limit.repeated:
        is_broken = limit.beyond(reading.value)
        # A count that lacks an operator is too low: only over a maximum, or over a minimum, is it sure.
        sure = not doubt or is_broken == (limit.side == "max")
        return ("broken" if is_broken else "kept", "") if sure else ("can't tell", doubt)
    if doubt:
        return "can't tell", doubt
    if reading.launches < 2 or reading.low is None or reading.high is None:
        return "can't tell", "one launch has no interval"
    ends = (limit.beyond(reading.low), limit.beyond(reading.high))
    if all(ends):
        return "broken", ""
    return ("can't tell", "the interval contains the limit") if any(ends) else ("kept", "")


def _measured(limit: Limit, reading: Reading) -> str:
    if reading.value is None:
        return "unknown"
    text = f"{limit.shown(reading.value)} {limit.unit}".rstrip()
    if METRICS[limit.metric].kind != "sampled":
        return text
    if reading.launches < 2 or reading.low is None or reading.high is None:
        return f"{text} (one launch)"
    launches = f"{reading.launches} launches"
    return f"{text} ({limit.shown(reading.low)} to {limit.shown(reading.high)}, {launches})"
