"""The overhead of our loop is told as a ratio with its interval; a loop that costs more is found out."""

from __future__ import annotations

import time

from bench.selftest import loop as selftest


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_our_loop_costs_a_call_of_half_a_millisecond_next_to_nothing():
    found = selftest._overhead("spin", lambda: spin(0.0005), rounds=10, round_s=0.02)
    assert 0.9 < found.ratio.value < 1.1
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    assert "ours / bare" in selftest.overhead_line(found)


def test_a_loop_that_costs_more_is_found_out(monkeypatch):
    bare = selftest._bare
    monkeypatch.setattr(selftest, "_ours", lambda call, samples, block: 1.5 * bare(call, samples * block))
    assert selftest._overhead("spin", lambda: spin(0.0005), rounds=10, round_s=0.02).ratio.value > 1.3


def test_three_models_are_measured_in_inference_and_training():
    names = [found.what for found in selftest.measure_overheads(rounds=2, round_s=0.0)]
    assert len(names) == 6 and "6-layer encoder, training" in names
