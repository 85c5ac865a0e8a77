"""Limits by name are a matrix's limits; a mark is read in full or refused in one line."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.metrics import METRICS
from bench.regression.finding import Finding
from bench.testing.limits import SHORT, read_limit
from bench.testing.marked import failures, read_mark


@pytest.mark.parametrize(
    ("name", "metric", "bound"),
    [
        ("max_latency_ms", "latency_s", 5e-3),
        ("max_latency_us", "latency_s", 5e-6),
        ("max_latency_s", "latency_s", 5.0),
        ("max_latency_p99_ms", "latency_p99_s", 5e-3),
        ("max_load_ms", "load_s", 5e-3),
        ("max_first_call_ms", "first_call_s", 5e-3),
        ("max_peak_rss_mb", "peak_rss_bytes", 5e6),
        ("max_peak_rss_mib", "peak_rss_bytes", 5 * 2**20),
        ("max_peak_tensor_kb", "peak_tensor_bytes", 5e3),
        ("max_gpu_peak_gb", "gpu_allocated_peak_bytes", 5e9),
        ("max_size_kb", "artifact_bytes", 5e3),
        ("max_compressed_size_kb", "artifact_compressed_bytes", 5e3),
        ("max_flops", "dense_flops", 5.0),
        ("max_parameters", "parameters", 5.0),
        ("min_throughput", "throughput", 5.0),
        ("max_energy_mj", "energy_j", 5e-3),
    ],
)
def test_a_name_says_the_metric_and_the_unit(name: str, metric: str, bound: float) -> None:
    limit = read_limit(name, 5)
    assert limit.metric == metric and limit.bound == pytest.approx(bound)
    assert limit.sign == ("<=" if name.startswith("max_") else ">=")


def test_shares_are_taken_as_they_are() -> None:
    assert read_limit("min_accuracy", 0.9).bound == 0.9
    assert read_limit("min_agreement", 0.9).metric == "reference_agreement"


def test_every_short_name_begins_a_metric() -> None:
    assert all(any(name.startswith(long) for name in METRICS) for long in SHORT.values())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("max_latncy_ms", "unknown metric 'latncy_ms'; did you mean 'latency_s'"),
        ("max_latency", "unknown metric 'latency'; did you mean 'latency_s'"),
        ("max_latency_mb", "latency_s may end in _s, _ms"),
        ("max_accuracy_ms", "did you mean 'accuracy'"),
        ("latency_ms", "unknown setting 'latency_ms'; a limit is max_ or min_ and a metric"),
        ("min_", "unknown setting 'min_'"),
    ],
)
def test_an_unknown_name_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(BenchError, match=message) as refused:
        read_limit(name, 5)
    assert "\n" not in str(refused.value) and name in str(refused.value)


@pytest.mark.parametrize("bound", [-1, "5", None, True, float("inf"), float("nan")])
def test_a_bound_is_a_number(bound: object) -> None:
    with pytest.raises(BenchError, match="max_latency_ms must be a number from 0"):
        read_limit("max_latency_ms", bound)


def test_a_bound_that_no_value_can_have_is_refused() -> None:
    with pytest.raises(BenchError, match=r"min_accuracy: .* accuracy is 0 to 1, got 5"):
        read_limit("min_accuracy", 5)


def test_a_mark_is_read_as_limits_and_settings() -> None:
    request = read_mark((), {"max_latency_ms": 5, "budget_s": 30, "strict": True, "backend": "onnxruntime"})
    assert [*request.limits] == ["max_latency_ms=5"] and request.strict
    assert request.settings == {"budget_s": 30, "backend": "onnxruntime"}


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((5,), {}, "takes limits by name"),
        ((), {"budget_s": 5}, "the mark has no limit"),
        ((), {"max_latency_ms": 5, "budget_s": "5"}, "budget_s must be int or float or NoneType, got '5'"),
        ((), {"max_latency_ms": 5, "strict": 1}, "strict must be bool, got 1"),
        ((), {"max_latency_ms": 5, "batch_size": True}, "batch_size must be int, got True"),
    ],
)
def test_a_wrong_mark_is_refused_in_one_line(arguments, keywords, message) -> None:
    with pytest.raises(BenchError, match=message):
        read_mark(arguments, keywords)


@pytest.mark.parametrize("verdict", ["can't tell", "not comparable"])
def test_what_nobody_can_tell_fails_a_strict_test_only(verdict) -> None:
    untold = [Finding(verdict, "infer", "latency_s", "")]
    assert not failures(read_mark((), {"max_latency_ms": 5}), untold)
    assert failures(read_mark((), {"max_latency_ms": 5, "strict": True}), untold) == untold


def test_a_broken_limit_fails_any_test() -> None:
    broken = [Finding("broken", "infer", "latency_s", "")]
    assert failures(read_mark((), {"max_latency_ms": 5}), broken) == broken
