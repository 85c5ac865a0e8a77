"""What a launch's samples become."""

from __future__ import annotations

import pytest

from bench.instruments.clock import Samples
from bench.stages.timing import timings


def measured(samples: Samples) -> dict[str, object]:
    return {entry.metric: entry for entry in timings("latency_s", samples)}


def test_quantiles_are_given_where_the_samples_support_them():
    durations = tuple(0.001 + 1e-6 * number for number in range(400))
    found = measured(Samples(durations, 0.5))
    assert found["latency_s"].value == pytest.approx(0.0011995)
    assert found["latency_p99_s"].value == pytest.approx(0.001395, rel=1e-3)
    assert found["fastest_s"].value == 0.001
    few = measured(Samples(durations[:40], 0.05))
    assert few["latency_p90_s"].value is not None and few["latency_p99_s"].value is None
    assert "40 samples are too few" in few["latency_p99_s"].reason


def test_of_calls_timed_in_blocks_no_upper_quantile_is_known():
    found = measured(Samples((50e-6,) * 400, 1.0, calls_per_sample=20))
    assert found["latency_s"].value == pytest.approx(50e-6)
    assert found["latency_s"].method == "blocks of 20 calls"
    for name in ("latency_p90_s", "latency_p99_s"):
        assert found[name].value is None and "blocks of 20" in found[name].reason
