"""The server scenario against a queue whose behaviour is known, and against MLPerf's generator itself."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bench.instruments.arrivals import Offered, highest_rate, offer_rate

SERVICE_S = 0.001


def queue_of(bound_s: float):
    """Answer as a queue with one server that takes a millisecond: waiting grows with ρ / (1 - ρ)."""

    def offer(rate_per_s: float) -> Offered:
        load = rate_per_s * SERVICE_S
        p99_s = SERVICE_S * (1 + 2.3 * load / (1 - load))
        return Offered(rate_per_s, 1000, SERVICE_S, p99_s, p99_s <= bound_s)

    return offer


@pytest.mark.parametrize(("bound_s", "load"), [(0.0033, 0.5), (0.0102, 0.8)])
def test_the_highest_rate_that_holds_is_found_to_a_sixty_fourth_of_the_capacity(bound_s, load):
    best, _ = highest_rate(queue_of(bound_s), 1 / SERVICE_S)
    assert best is not None and best.holds
    assert best.rate_per_s == pytest.approx(load / SERVICE_S, abs=1 / SERVICE_S / 32)


def test_where_no_rate_holds_the_lowest_that_was_tried_is_told():
    best, least = highest_rate(queue_of(SERVICE_S), 1 / SERVICE_S)
    assert best is None and least.rate_per_s == pytest.approx(1000 / 8)


def test_mlperfs_generator_clocks_the_wait_and_the_service(tmp_path):
    pytest.importorskip("mlperf_loadgen")
    found = offer_rate(lambda: time.sleep(0.004), 100.0, 0.2, seconds=0.5, folder=tmp_path, arrivals=200)
    assert found.arrivals >= 200 and found.p50_s >= 0.004 and found.p99_s > found.p50_s
    assert not found.holds  # two hundred arrivals show no 99th percentile, however short they were


def test_a_bound_far_above_the_wait_is_shown_to_hold_by_a_thousand_arrivals(tmp_path):
    pytest.importorskip("mlperf_loadgen")
    found = offer_rate(lambda: None, 1000.0, 60.0, seconds=0.1, folder=tmp_path)
    assert found.holds and found.arrivals >= 1000


def test_a_bound_below_the_service_time_cannot_hold(tmp_path):
    pytest.importorskip("mlperf_loadgen")
    assert not offer_rate(lambda: time.sleep(0.004), 100.0, 0.003, 0.1, tmp_path, 100).holds


def test_a_call_that_fails_ends_the_scenario_with_its_error(tmp_path):
    pytest.importorskip("mlperf_loadgen")

    def fail() -> None:
        raise MemoryError("out of memory")

    with pytest.raises(MemoryError, match="out of memory"):
        offer_rate(fail, 100.0, 0.2, 0.1, tmp_path, 50)


def test_calls_made_one_after_another_do_not_see_who_waits():
    """At nine tenths of the capacity arrivals wait for many services: a closed loop sees none of it."""
    generator = np.random.default_rng(0)
    arrivals = np.cumsum(generator.exponential(SERVICE_S / 0.9, 20_000))
    ends = np.zeros(len(arrivals))
    for number, arrival in enumerate(arrivals):
        ends[number] = max(arrival, ends[number - 1] if number else 0.0) + SERVICE_S
    by_arrivals = float(np.quantile(ends - arrivals, 0.99))
    by_a_closed_loop = SERVICE_S
    # The Pollaczek-Khinchine mean of this queue, load / (2 * (1 - load)) services, checks the queue itself.
    assert float((ends - arrivals).mean()) == pytest.approx(SERVICE_S * (1 + 0.9 / 0.2), rel=0.15)
    assert by_arrivals > 10 * by_a_closed_loop
    assert not queue_of(3 * SERVICE_S)(900).holds  # the bound that a closed loop would call held
