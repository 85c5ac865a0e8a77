"""pytest-benchmark's statistics of the rounds of a benchmark, which its readers expect in a file.

As in `pytest_benchmark/stats.py`: quartiles by its choice of method, outliers by Tukey's fences and by one
standard deviation.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def statistics_of(data: Sequence[float]) -> dict[str, Any]:
    """Return the statistics of rounds, in seconds, under pytest-benchmark's names."""
    ordered, count, total = sorted(data), len(data), sum(data)
    mean = statistics.mean(data)
    deviation = statistics.stdev(data) if count > 1 else 0
    q1, q3 = _quartiles(ordered)
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond = sum(value < mean - deviation or value > mean + deviation for value in data)
    outside = sum(value < low or value > high for value in data)
    return {
        **{"min": ordered[0], "max": ordered[-1], "mean": mean, "stddev": deviation, "rounds": count},
        **{"median": statistics.median(ordered), "iqr": q3 - q1, "q1": q1, "q3": q3},
        **{"iqr_outliers": outside, "stddev_outliers": beyond, "outliers": f"{beyond};{outside}"},
        "ld15iqr": next((value for value in ordered if value >= low), ordered[0]),
        "hd15iqr": next((value for value in reversed(ordered) if value <= high), ordered[-1]),
        **{"ops": count / total if total else 0, "total": total, "data": list(data), "iterations": 1},
    }


def _quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    count = len(ordered)
    if count == 1:
        return ordered[0], ordered[0]
    half, quarter = count // 2, count // 4
    if count % 2 == 0:
        return statistics.median(ordered[:half]), statistics.median(ordered[half:])
    if count % 4 == 1:
        return (
            0.25 * ordered[quarter - 1] + 0.75 * ordered[quarter],
            0.75 * ordered[3 * quarter] + 0.25 * ordered[3 * quarter + 1],
        )
    return (
        0.75 * ordered[quarter] + 0.25 * ordered[quarter + 1],
        0.25 * ordered[3 * quarter + 1] + 0.75 * ordered[3 * quarter + 2],
    )
