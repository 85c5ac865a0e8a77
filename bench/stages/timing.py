"""From the samples of one launch to measurements."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import Measurement
from bench.statistics import sample_quantile

UPPER = {"_p90_s": 0.9, "_p99_s": 0.99}


def quantiles(
    metric: str, durations_s: Sequence[float], upper: Sequence[str] = tuple(UPPER)
) -> list[Measurement]:
    """Measure the median, with all samples, and the upper quantiles that their number supports."""
    return [
        _quantile(metric, durations_s, 0.5, keep_samples=True),
        *(_quantile(metric.replace("_s", suffix), durations_s, UPPER[suffix]) for suffix in upper),
    ]


def _quantile(
    metric: str, durations_s: Sequence[float], quantile: float, *, keep_samples: bool = False
) -> Measurement:
    n = len(durations_s)
    samples = tuple(durations_s) if keep_samples else ()
    interval = sample_quantile(durations_s, quantile)
    if interval is None:
        reason = f"{n} samples are too few for the {quantile:g} quantile"
        return Measurement(metric, None, n=n, reason=reason, samples=samples)
    return Measurement(
        metric, interval.value, interval.low, interval.high, n, interval.method, samples=samples
    )
