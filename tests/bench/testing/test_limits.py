"""Limits by name: what each is of, and the verdict that an interval gives."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.metrics import METRICS
from bench.testing.limits import NAMES, judge, known_names, read_limit
from bench.testing.marked import failures, read_mark
from reports.frames.view import Reading


def latency(low: float | None, high: float | None, launches: int = 6) -> Reading:
    return Reading(0.005, low, high, launches)


@pytest.mark.parametrize(
    ("name", "metric", "bound"),
    [
        ("max_latency_ms", "latency_s", 5e-3),
        ("max_latency_us", "latency_s", 5e-6),
        ("max_latency_s", "latency_s", 5.0),
        ("max_latency_p99_ms", "latency_p99_s", 5e-3),
        ("max_peak_rss_mb", "peak_rss_bytes", 5e6),
        ("max_peak_rss_mib", "peak_rss_bytes", 5 * 2**20),
        ("max_size_kb", "artifact_bytes", 5e3),
        ("max_flops", "dense_flops", 5.0),
        ("max_parameters", "parameters", 5.0),
        ("min_accuracy", "accuracy", 5.0),
        ("min_throughput", "throughput", 5.0),
        ("max_energy_mj", "energy_j", 5e-3),
    ],
)
def test_a_name_says_the_metric_and_the_unit(name: str, metric: str, bound: float) -> None:
    limit = read_limit(name, 5)
    assert limit.metric == metric and limit.bound * limit.scale == pytest.approx(bound)
    assert limit.side == name[:3] and limit.text == f"{name}=5"


def test_every_name_is_of_a_metric_and_can_be_read_as_it_is_listed() -> None:
    assert set(NAMES.values()) <= set(METRICS)
    assert [read_limit(f"max_{name}", 1).metric for name in known_names()] == list(NAMES.values())


@pytest.mark.parametrize("name", ["max_latncy_ms", "latency_ms", "max_latency", "min_", "max_accuracy_ms"])
def test_an_unknown_name_is_refused_in_one_line_with_the_known_ones(name: str) -> None:
    with pytest.raises(BenchError, match=f"unknown limit '{name}'") as refused:
        read_limit(name, 5)
    message = str(refused.value)
    assert "\n" not in message and "latency_ms, latency_p90_ms" in message and "compressed_size_mb" in message


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(BenchError, match="did you mean 'max_latency_ms'"):
        read_limit("max_latncy_ms", 5)


@pytest.mark.parametrize("bound", [-1, "5", None, True, float("inf"), float("nan")])
def test_a_bound_is_a_number(bound: object) -> None:
    with pytest.raises(BenchError, match="max_latency_ms must be a number from 0"):
        read_limit("max_latency_ms", bound)


@pytest.mark.parametrize(
    ("reading", "verdict"),
    [
        (latency(0.0051, 0.006), "broken"),
        (latency(0.004, 0.005), "kept"),
        (latency(0.0049, 0.0051), "can't tell"),
        (latency(None, None), "can't tell"),
        (latency(0.001, 0.002, launches=1), "can't tell"),  # of one launch's samples: launches differ more
        (Reading(None, reason="too few samples"), "can't tell"),
    ],
)
def test_what_is_sampled_is_judged_by_its_whole_interval(reading: Reading, verdict: str) -> None:
    assert judge(read_limit("max_latency_ms", 5), reading).verdict == verdict


def test_disturbed_launches_tell_nothing() -> None:
    finding = judge(read_limit("max_latency_ms", 1), latency(0.0049, 0.0051), "all 3 launches were disturbed")
    assert finding.verdict == "can't tell" and finding.text.endswith("; all 3 launches were disturbed")


def test_a_minimum_is_broken_from_below() -> None:
    limit = read_limit("min_throughput", 100)
    assert judge(limit, Reading(90, 80, 95, 6)).verdict == "broken"
    assert judge(limit, Reading(110, 95, 120, 6)).verdict == "can't tell"
    assert judge(limit, Reading(110, 100, 120, 6)).verdict == "kept"


def test_what_is_exact_or_measured_once_is_judged_by_its_value() -> None:
    assert judge(read_limit("min_accuracy", 0.9), Reading(0.9, launches=1)).verdict == "kept"
    assert judge(read_limit("min_accuracy", 0.9), Reading(0.89, launches=1)).verdict == "broken"
    assert judge(read_limit("max_peak_rss_mb", 100), Reading(2e8, launches=1)).verdict == "broken"
    assert judge(read_limit("max_peak_rss_mb", 300), Reading(2e8, launches=1)).verdict == "kept"


def test_an_incomplete_count_is_a_lower_bound() -> None:
    most, least = read_limit("max_flops", 100), read_limit("min_flops", 100)
    assert judge(most, Reading(200.0), "fft").verdict == "broken"
    assert judge(most, Reading(50.0), "fft").verdict == "can't tell"
    assert judge(least, Reading(50.0), "fft").verdict == "can't tell"
    assert judge(least, Reading(200.0), "fft").verdict == "kept"


def test_the_text_has_value_interval_and_limit_in_the_limit_s_unit() -> None:
    finding = judge(read_limit("max_latency_ms", 4), latency(0.0049, 0.0052))
    assert finding.text == "max_latency_ms=4: latency 5.00 ms (4.90 to 5.20, 6 launches)"
    assert finding.limit == "<= 4 ms"
    once = judge(read_limit("max_peak_rss_mb", 100), Reading(2e8, launches=1))
    assert once.text == "max_peak_rss_mb=100: peak resident memory 200 MB (one launch)"
    unknown = judge(read_limit("max_latency_p99_ms", 4), Reading(None, reason="too few samples"))
    assert unknown.text == "max_latency_p99_ms=4: latency p99 unknown; too few samples"


def test_a_mark_is_read_as_limits_and_settings() -> None:
    request = read_mark((), {"max_latency_ms": 5, "budget_s": 30, "strict": True, "backend": "onnxruntime"})
    assert [limit.name for limit in request.limits] == ["max_latency_ms"] and request.strict
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


def test_what_nobody_can_tell_fails_a_strict_test_only() -> None:
    untold = [judge(read_limit("max_latency_ms", 5), latency(None, None))]
    assert not failures(read_mark((), {"max_latency_ms": 5}), untold)
    assert failures(read_mark((), {"max_latency_ms": 5, "strict": True}), untold) == untold
