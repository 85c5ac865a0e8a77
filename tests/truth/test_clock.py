"""The clock counts and adds up; whether it is fast enough is never asserted against another clock."""

from __future__ import annotations

import gc

import pytest

from bench.instruments.clock import sample, warm_up


def test_samples_add_up_to_no_more_than_the_window():
    samples = sample(lambda: sum(range(1000)), seconds=0.02)
    assert len(samples.durations_s) >= 6
    assert sum(samples.durations_s) <= samples.elapsed_s


@pytest.mark.parametrize(("least", "most"), [(6, 6), (1, 3)])
def test_at_least_and_at_most_so_many_samples_are_taken(least, most):
    calls = []
    samples = sample(lambda: calls.append(1), seconds=0.0 if least == 6 else 10.0, least=least, most=most)
    assert len(samples.durations_s) == len(calls) == most


def test_waiting_for_the_device_belongs_to_each_sample():
    waits = []
    samples = sample(lambda: None, lambda: waits.append(1), seconds=0.0, least=7)
    assert len(waits) == len(samples.durations_s) == 7


def test_the_garbage_collector_rests_while_sampling_and_is_restored():
    seen = []
    sample(lambda: seen.append(gc.isenabled()), seconds=0.0)
    assert seen and not any(seen) and gc.isenabled()


def test_warm_up_goes_on_while_calls_get_faster_and_then_stops():
    work = iter([3000] * 10 + [1000] * 10)
    calls = []

    def call() -> None:
        calls.append(1)
        sum(range(100 * next(work, 300)))

    warmup = warm_up(call, most_s=60)
    assert warmup.steady
    assert warmup.calls == len(calls) > 20


def test_warm_up_says_when_time_ran_out_before_it_was_steady():
    assert not warm_up(lambda: None, least_calls=1, most_s=0.0).steady
