"""A row of the table of metrics: what a metric is called, its unit, its direction, and how it is compared."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Better = Literal["lower", "higher", "neither"]
Kind = Literal["exact", "seeded", "sampled"]

NAME = r"[a-z][a-z0-9_]{0,63}"
"""The form of a metric's name: it names columns of tables."""

_BOUNDS_OF_UNITS = {"share": (0.0, 1.0), "points": (0.0, 100.0), "nats": (0.0, math.inf)}
_MAX_CHARACTERS = {"label": 60, "unit": 20, "stage": 40, "about": 300}


@dataclass(frozen=True)
class Metric:
    """A quantity that stages measure.

    `kind`: exact (the same on every machine), seeded (the same for the same seed, libraries and hardware),
    sampled (differs from launch to launch, has an interval). `stage` is the kind of stage that measures it.
    `low` and `high` are the smallest and largest value that it can have; without them the unit says: a share
    is 0 to 1, points are 0 to 100.

    `quality`: a workload's `quality` or `finish` may return it. `operations`: it counts operations, so it is
    a lower bound where the stage's `flops_complete` is no. `curve`: its samples are a training curve, one for
    each evaluation.
    """

    name: str
    label: str
    unit: str
    better: Better
    kind: Kind
    stage: str
    about: str
    low: float | None = None
    high: float | None = None
    quality: bool = False
    operations: bool = False
    curve: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest value that the metric can have."""
        low, high = _BOUNDS_OF_UNITS.get(self.unit, (-math.inf, math.inf))
        return low if self.low is None else self.low, high if self.high is None else self.high

    def check(self) -> None:
        """Raise ValueError that says what would be right where a field is wrong."""
        if not isinstance(self.name, str) or not re.fullmatch(NAME, self.name):
            raise ValueError("a name has only a-z, 0-9 and '_', a letter first, 64 characters at most")
        for field, most in _MAX_CHARACTERS.items():
            text = getattr(self, field)
            if not isinstance(text, str) or len(text) > most or (not text.isprintable() and text):
                raise ValueError(f"{field} must be one line of at most {most} characters, got {text!r:.80}")
        for field, known in (("better", get_args(Better)), ("kind", get_args(Kind))):
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be {', '.join(known)}, got {getattr(self, field)!r:.80}")
        for field in ("quality", "operations", "curve"):
            if not isinstance(getattr(self, field), bool):
                raise ValueError(f"{field} must be True or False, got {getattr(self, field)!r:.80}")
        for field in ("low", "high"):
            bound = getattr(self, field)
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
                raise ValueError(f"{field} must be a number, got {bound!r:.80}")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"low must be less than high, got {self.bounds[0]:g} and {self.bounds[1]:g}")

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON; a bound that is infinite is null."""
        low, high = (bound if math.isfinite(bound) else None for bound in self.bounds)
        return {**asdict(self), "low": low, "high": high}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Metric:
        """Return the row of such JSON; keys that are no fields are left out."""
        row = {field.name: entry[field.name] for field in fields(cls)}
        low, high = row["low"], row["high"]
        bounds = {"low": -math.inf if low is None else low, "high": math.inf if high is None else high}
        return cls(**{**row, **bounds})
