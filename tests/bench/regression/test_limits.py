"""A limit is broken where a value's whole interval is beyond it, kept where none is, else can't tell."""

from __future__ import annotations

import math

import pytest

from bench.matrix.limits import parse_limit
from bench.regression.limits import Measured, judge, judged, limit_lines

STAGE = "infer digits/none@cpu-eager 1"


def verdict(text: str, value: float | None, low: float | None = None, high: float | None = None) -> str:
    limit = parse_limit(text)
    return judge(limit, Measured(STAGE, limit.metric, value, low, high)).verdict


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.010, 0.009, 0.011, "kept"),
        (0.019, 0.018, 0.020, "kept"),
        (0.019, 0.018, 0.021, "can't tell"),
        (0.021, 0.020, 0.022, "can't tell"),  # 20 ms itself would still be kept
        (0.022, 0.0201, 0.023, "broken"),
        (0.500, 0.400, 0.600, "broken"),
    ],
)
def test_an_upper_bound_is_judged_by_the_interval(value, low, high, expected):
    assert verdict("latency_p99_ms <= 20", value, low, high) == expected


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [(1.5, 1.3, 1.7, "kept"), (1.5, 1.1, 1.9, "can't tell"), (0.9, 0.8, 1.1, "broken")],
)
def test_a_lower_bound_is_judged_by_the_interval(value, low, high, expected):
    assert verdict("speedup >= 1.2", value, low, high) == expected


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("accuracy >= 0.90", 0.90, "kept"),
        ("accuracy > 0.90", 0.90, "broken"),
        ("accuracy >= 0.90", 0.8999, "broken"),
        ("peak_rss_bytes <= 1.5e9", 1.5e9 + 1, "kept"),  # a billionth over is rounding
        ("peak_rss_bytes <= 1.5e9", 1.5e9 + 4096, "broken"),
        ("peak_rss_bytes < 1.5e9", 1.5e9, "broken"),
        ("quality_loss_points <= 1", 100 * (0.94 - 0.93), "kept"),
        ("quality_loss_points <= 0", 0.0, "kept"),
        ("quality_loss_points <= 0", -0.2, "kept"),
        ("quality_loss_points <= 1", 1.01, "broken"),
    ],
)
def test_a_value_without_an_interval_is_taken_as_it_is(text, value, expected):
    assert verdict(text, value) == expected


def test_a_value_that_is_the_least_possible_breaks_a_limit_below_it_and_leaves_others_open():
    assert verdict("steps_to_target <= 500", 1200, 1200, math.inf) == "broken"
    assert verdict("steps_to_target <= 2000", 1200, 1200, math.inf) == "can't tell"
    assert verdict("utilization >= 0.1", 0.2, 0.2, math.inf) == "kept"


def test_an_unknown_value_cannot_be_told_and_says_why():
    limit = parse_limit("latency_p99_ms <= 20")
    for value in (None, math.nan):
        finding = judge(limit, Measured(STAGE, limit.metric, value, reason="too few samples"))
        assert finding.verdict == "can't tell" and "too few samples" in finding.text


def test_what_was_skipped_is_not_comparable_and_no_alarm():
    limit = parse_limit("latency_p99_ms <= 20")
    finding = judge(limit, Measured("cell digits", limit.metric, excluded="skipped: no kernel"))
    assert (finding.verdict, finding.text, finding.alarms) == ("not comparable", "skipped: no kernel", False)


def test_a_finding_has_the_limit_the_value_and_both_in_words():
    limit = parse_limit("latency_p99_ms <= 20")
    finding = judge(limit, Measured(STAGE, limit.metric, 0.0231, 0.0220, 0.0245))
    assert (finding.stage, finding.metric, finding.after) == (STAGE, "latency_p99_s", 0.0231)
    assert finding.limit == "<= 20 ms" and finding.alarms
    assert finding.text == "23.1 ms (22.0 to 24.5), limit <= 20 ms"
    lost = judge(parse_limit("quality_loss_points <= 1"), Measured(STAGE, "quality_loss_points", 0.0101))
    assert lost.text == "+0.01 points, limit <= 1 points"


def test_the_lines_count_the_verdicts_and_name_what_is_broken():
    limit = parse_limit("latency_p99_ms <= 20")
    values = [0.5] * 12 + [0.01] * 3
    pairs = [(limit, Measured(f"infer {n}", limit.metric, value)) for n, value in enumerate(values)]
    comparison = judged("run-1", pairs)
    first, *named = limit_lines(comparison)
    assert first == "limits: 12 broken, 3 kept"
    assert named[0] == "broken: infer 0 latency_p99_s: 500 ms, limit <= 20 ms"
    assert len(named) == 11 and named[-1] == "and 2 more; bench limits prints them all"
    assert comparison.exit_code() == 1 and "LIMIT BROKEN" in comparison.summary
    assert limit_lines(judged("run-1", [])) == []
