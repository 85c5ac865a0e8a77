"""From the samples of one launch to measurements."""

from __future__ import annotations

from collections.abc import Sequence

from bench.instruments.clock import Samples
from bench.records import Measurement
from bench.statistics import effective_samples, relative_spread, sample_quantile

UPPER = {"_p90_s": 0.9, "_p99_s": 0.99}


def timings(metric: str, samples: Samples, upper: Sequence[str] = tuple(UPPER)) -> list[Measurement]:
    """Measure the median, with all samples, the upper quantiles that their number supports, and the spread.

    Of calls timed in blocks no quantile of single calls is known.
    """
    durations_s, block = samples.durations_s, samples.calls_per_sample
    n = len(durations_s)
    method = f"blocks of {block} calls" if block > 1 else "each call"
    return [
        _median(metric, durations_s, method),
        *(_upper(metric.replace("_s", suffix), durations_s, UPPER[suffix], block) for suffix in upper),
        Measurement("fastest_s", min(durations_s), n=n, method=method),
        Measurement("within_variation", relative_spread(durations_s), n=n, method=method),
        Measurement("effective_samples", effective_samples(durations_s), n=n),
    ]


def _median(metric: str, durations_s: Sequence[float], method: str) -> Measurement:
    n = len(durations_s)
    interval = sample_quantile(durations_s, 0.5)
    if interval is None:
        reason = f"{n} samples are too few for the median"
        return Measurement(metric, None, n=n, reason=reason, samples=tuple(durations_s))
    return Measurement(
        metric, interval.value, interval.low, interval.high, n, method, samples=tuple(durations_s)
    )


def _upper(metric: str, durations_s: Sequence[float], quantile: float, block: int) -> Measurement:
    n = len(durations_s)
    if block > 1:
        reason = f"calls this short are timed in blocks of {block}: no quantile of single calls is known"
        return Measurement(metric, None, n=n, reason=reason)
    interval = sample_quantile(durations_s, quantile)
    if interval is None:
        return Measurement(metric, None, n=n, reason=f"{n} samples are too few for the {quantile:g} quantile")
    return Measurement(metric, interval.value, interval.low, interval.high, n, interval.method)
