"""Limits that a matrix sets on its cells: `latency_p99_ms <= 20`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from bench.errors import MatrixError
from bench.metrics import METRICS
from bench.stages import STAGES
from techniques.registry import nearest

Sign = Literal["<=", ">=", "<", ">"]

SCALES: Mapping[str, Mapping[str, float]] = {
    "s": {"ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0},
    "bytes": {
        **{"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
        **{"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40},
    },
    "flops": {"kflops": 1e3, "mflops": 1e6, "gflops": 1e9, "tflops": 1e12},
    "j": {"mj": 1e-3, "kj": 1e3, "wh": 3600.0, "kwh": 3.6e6},
    "w": {"mw": 1e-3, "kw": 1e3},
}
"""What a metric's name ends in → the endings that a limit may have instead, and how many of it each is."""

_UNITS = {*SCALES, "points", *(unit for scales in SCALES.values() for unit in scales)}

_FORM = re.compile(r"\s*(?P<name>[A-Za-z0-9_.-]+)\s*(?P<sign><=|>=|<|>)(?![<>=])\s*(?P<bound>.*?)\s*")


@dataclass(frozen=True)
class Limit:
    """A bound on one metric of the cells that `where` selects, by axis and patterns.

    `bound` is in the metric's own unit; `asks` is the bound as it was written, such as "<= 20 ms". `stage` is
    the kind of stage that is meant, empty for those that serve a cell, or train it where none does.
    """

    metric: str
    sign: Sign
    bound: float
    asks: str
    stage: str = ""
    where: Mapping[str, list[str]] = field(default_factory=dict)

    def applies(self, axes: Mapping[str, str | int]) -> bool:
        """Say whether a cell, by its value on each axis, is among those that the limit is for."""
        return all(
            any(fnmatchcase(str(axes.get(axis, "")), pattern) for pattern in patterns)
            for axis, patterns in self.where.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a run's record keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Limit:
        """Return the limit of such a record."""
        return cls(**{one.name: document[one.name] for one in fields(cls)})


def parse_limit(text: str, where: str = "limit", of: Mapping[str, list[str]] | None = None) -> Limit:
    """Read `METRIC <= NUMBER`; raises MatrixError that begins with `where` and says what would be right.

    The metric's last part may be another unit of the same kind (`latency_p99_ms` for `latency_p99_s`), and a
    kind of stage may stand before it: `step.peak_rss_gb`.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise MatrixError(
            f"{where}: {text!r} must be METRIC <= NUMBER, with one of {', '.join(get_args(Sign))}"
        )
    stage, _, name = found["name"].rpartition(".")
    metric, scale = _metric(name, where)
    row = METRICS[metric]
    if stage and stage not in STAGES.rows():
        raise MatrixError(f"{where}: unknown kind of stage {stage!r}{nearest(stage, STAGES.rows())}")
    if stage and row.stage not in ("any", stage):
        raise MatrixError(f"{where}: {metric} is measured by {row.stage}, not by {stage}")
    unit = name.rpartition("_")[2]
    bound = _number(found["bound"], text, where) * scale
    low, high = row.bounds
    if not low <= bound <= high:
        raise MatrixError(f"{where}: {text!r}: {metric} is {low:g} to {high:g}, got {bound:g}")
    asks = f"{found['sign']} {found['bound']}" + (f" {unit}" if unit in _UNITS else "")
    kind = stage or ("" if row.stage == "any" else row.stage)
    return Limit(metric, found["sign"], bound, asks, kind, of or {})  # type: ignore[arg-type]


def _metric(name: str, where: str) -> tuple[str, float]:
    """Return the metric that a name means, and how many of its unit one of the name's unit is."""
    if name in METRICS:
        return name, 1.0
    stem, _, unit = name.rpartition("_")
    # What ends in `_per_s` is a rate: per millisecond it would be larger, not smaller.
    known = [] if stem.endswith("_per") else [base for base in SCALES if f"{stem}_{base}" in METRICS]
    for base in known:
        if unit in SCALES[base]:
            return f"{stem}_{base}", SCALES[base][unit]
    if known and unit in _UNITS:
        right = ", ".join(f"_{unit}" for unit in (known[0], *SCALES[known[0]]))
        raise MatrixError(f"{where}: {name!r} has a wrong unit; {stem}_{known[0]} may end in {right}")
    raise MatrixError(f"{where}: unknown metric {name!r}{nearest(name, METRICS)}")


def _number(written: str, text: str, where: str) -> float:
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise MatrixError(
            f"{where}: {text!r} must end in a number, got {written!r}; a unit is part of the metric's name"
        )
    return number
