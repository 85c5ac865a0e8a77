"""The overhead of our loop is told as a ratio with its interval; a loop that costs more is found out."""

from __future__ import annotations

import pytest

from bench.selftest import loop as selftest

CALL_S = 0.0005


def test_both_loops_time_the_same_calls(simulated_clock):
    found = selftest._overhead("call", lambda: simulated_clock.work(CALL_S), rounds=10, round_s=0.02)
    assert found.call_s == pytest.approx(CALL_S) and found.ratio.value == pytest.approx(1.0)
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    assert "ours / bare" in selftest.overhead_line(found)


def test_a_loop_that_costs_more_is_found_out(monkeypatch, simulated_clock):
    bare = selftest._bare
    monkeypatch.setattr(selftest, "_ours", lambda call, samples, block: 1.5 * bare(call, samples * block))
    found = selftest._overhead("call", lambda: simulated_clock.work(CALL_S), rounds=10, round_s=0.02)
    assert found.ratio.value == pytest.approx(1.5)


def test_three_models_are_measured_in_inference_and_training(monkeypatch):
    monkeypatch.setattr(selftest, "_overhead", lambda what, call, *_: (what, call()))
    names = [what for what, _ in selftest.measure_overheads()]
    assert len(names) == 6 and "6-layer encoder, training" in names
