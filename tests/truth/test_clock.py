"""The clock against calls of known behaviour. No test asks how long anything took, only what adds up."""

from __future__ import annotations

import gc
import mmap
import time

import pytest

from bench.instruments import clock


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_samples_fit_into_the_window_they_were_taken_in() -> None:
    samples = clock.sample(lambda: spin(0.001), seconds=0.05)
    assert 0 < sum(samples.durations_s) <= samples.elapsed_s
    assert all(duration >= 0.001 for duration in samples.durations_s)


def test_sampling_stops_at_the_most_and_never_before_the_least() -> None:
    assert len(clock.sample(lambda: None, seconds=10.0, most=100).durations_s) == 100
    assert len(clock.sample(lambda: None, seconds=0.0, least=7).durations_s) == 7


def test_the_wait_for_the_device_is_part_of_each_sample() -> None:
    samples = clock.sample(lambda: None, lambda: spin(0.001), seconds=0.0, least=10)
    assert min(samples.durations_s) >= 0.001


def test_what_is_done_between_samples_is_in_none_of_them(simulated_clock) -> None:
    order: list[str] = []

    def between() -> None:
        order.append("between")
        simulated_clock.work(0.01)

    def call() -> None:
        order.append("call")
        simulated_clock.work(0.001)

    samples = clock.sample(call, seconds=0.0, least=5, between=between)
    assert order == ["between", "call"] * 5
    assert samples.durations_s == pytest.approx((0.001,) * 5) and samples.elapsed_s == pytest.approx(0.005)


def test_no_collection_of_garbage_falls_into_a_sample_and_the_collector_is_as_before() -> None:
    seen: list[bool] = []
    clock.sample(lambda: seen.append(gc.isenabled()), seconds=0.0, least=3)
    assert seen == [False] * 3
    assert gc.isenabled()
    gc.disable()
    try:
        clock.sample(lambda: None, seconds=0.0, least=1)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_comes_back_when_a_call_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        clock.sample(lambda: 1 / 0)
    assert gc.isenabled()


def test_short_calls_are_timed_in_blocks_of_a_millisecond() -> None:
    short = clock.Warmup(1000, True, 1e-5, 0.1, typical_s=20e-6)
    assert short.calls_per_sample == 50
    assert clock.Warmup(10, True, 1e-4, 0.1, typical_s=100e-6).calls_per_sample == 1
    calls: list[None] = []
    samples = clock.sample(lambda: calls.append(None), seconds=0.0, least=7, calls_per_sample=50)
    assert (len(samples.durations_s), samples.calls, len(calls)) == (7, 350, 350)
    assert sum(samples.durations_s) * 50 <= samples.elapsed_s


def test_a_duration_of_a_block_is_that_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(clock.time, "perf_counter_ns", lambda: next(now))
    samples = clock.sample(lambda: None, seconds=0.0, least=3, most=3, calls_per_sample=10)
    assert samples.durations_s == (100e-9,) * 3


class Ticks:
    """A clock that only calls advance: each by the seconds its turn costs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: list[float], later: float) -> None:
        self.now = 0.0
        self.calls = 0
        self._cost = cost
        self._later = later
        monkeypatch.setattr(clock.time, "perf_counter", lambda: self.now)

    def __call__(self) -> None:
        self.now += self._cost[self.calls] if self.calls < len(self._cost) else self._later
        self.calls += 1


def test_warm_up_ends_once_calls_no_longer_get_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Ticks(monkeypatch, [1.0, *(0.04 * 0.95**turn for turn in range(20))], 0.01)
    warmup = clock.warm_up(call, most_s=5.0)
    assert warmup.steady
    assert warmup.calls == call.calls > 21
    assert warmup.first_s == 1.0
    assert warmup.elapsed_s == pytest.approx(call.now)


def test_warm_up_that_runs_out_of_time_says_it_is_not_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Ticks(monkeypatch, [0.05 * 0.97**turn for turn in range(500)], 0.0)
    warmup = clock.warm_up(call, most_s=0.5)
    assert not warmup.steady
    assert warmup.elapsed_s < 0.5 + 2 * 0.05


def test_a_long_first_call_takes_nothing_from_the_time_to_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Ticks(monkeypatch, [30.0], 0.01)
    assert clock.warm_up(call, most_s=2.0).steady


def test_a_steady_call_is_not_warmed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    dear = Ticks(monkeypatch, [], 0.2)
    assert clock.warm_up(dear, most_s=2.0, least_calls=5) == clock.Warmup(
        5, True, 0.2, pytest.approx(1.0), pytest.approx(0.2)
    )
    cheap = Ticks(monkeypatch, [], 1e-4)
    assert cheap.calls == 0
    assert clock.warm_up(cheap, most_s=2.0).calls == pytest.approx(1000, rel=0.01)


def test_a_disturbance_does_not_keep_the_warm_up_going(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Ticks(monkeypatch, [0.1] * 4, 0.3)
    assert clock.warm_up(call).steady


def test_the_process_own_cpu_seconds_are_counted_and_a_sleepers_are_few():
    busy = clock.sample(lambda: spin(0.002), seconds=0.1)
    idle = clock.sample(lambda: time.sleep(0.002), seconds=0.1)
    assert busy.cpu_s / busy.elapsed_s > 2 * idle.cpu_s / idle.elapsed_s


def test_memory_that_a_call_asks_the_kernel_for_shows_as_page_faults():
    def touch() -> None:
        with mmap.mmap(-1, 64 * mmap.PAGESIZE) as pages:
            for place in range(0, len(pages), mmap.PAGESIZE):
                pages[place] = 1

    samples = clock.sample(touch, seconds=0.0, least=20, most=20)
    assert samples.page_faults / samples.calls == pytest.approx(64, abs=2)


def test_a_tick_of_the_clock_is_small_and_not_nothing():
    assert 0 < clock.tick_s() <= max(1e-4, time.get_clock_info("perf_counter").resolution)
