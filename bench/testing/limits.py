"""Limits by name: the `max_latency_ms=5` of a mark is the `latency_ms <= 5` of a matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.errors import BenchError
from bench.matrix.limits import Limit, parse_limit

SHORT: Mapping[str, str] = {
    "size": "artifact",
    "compressed_size": "artifact_compressed",
    "gpu_peak": "gpu_allocated_peak",
    "flops": "dense_flops",
    "agreement": "reference_agreement",
}
"""Short names → how the metric's name begins."""

_SIGNS = {"max_": "<=", "min_": ">="}


def read_limit(name: str, bound: Any) -> Limit:
    """Return the limit of that name: `max_` or `min_`, then a metric as a matrix's limits may name it.

    Raises BenchError in one line that says what would be right.
    """
    sign, metric = _SIGNS.get(name[:4]), _long(name[4:])
    if sign is None or not metric:
        raise BenchError(
            f"bench: unknown setting {name!r}; a limit is max_ or min_ and a metric, as max_latency_ms=5"
        )
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound < math.inf:
        raise BenchError(f"bench: {name} must be a number from 0, got {bound!r}")
    return parse_limit(f"{metric} {sign} {bound!r}", f"bench: {name}")


def _long(name: str) -> str:
    """Return the name that the table of metrics has, with another unit or none."""
    for short, long in SHORT.items():
        if name == short or name.startswith(f"{short}_"):
            return long + name[len(short) :]
    return name
