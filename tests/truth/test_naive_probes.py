"""Known answers tell our probes from those that come to mind first: each of these is shown to be wrong."""

from __future__ import annotations

import mmap
import resource
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from bench.analysis.statistics import launch_interval, sample_quantile
from bench.instruments import clock, tensors
from bench.instruments.memory import PeakResident, resident_bytes

MIB = 1 << 20
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")


def spike() -> None:
    """Touch 64 MiB and give them back: some 15 ms."""
    with mmap.mmap(-1, 64 * MIB) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1


def by_our_probe(call: Callable[[], object]) -> float:
    with PeakResident() as resident:
        call()
    return float(resident.growth_bytes or 0)


def by_resident_set_afterwards(call: Callable[[], object]) -> float:
    before = resident_bytes()
    call()
    return resident_bytes() - before


def by_sampling_at_100_hz(call: Callable[[], object]) -> float:
    own, stop = psutil.Process(), threading.Event()
    before = peak = own.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.01):
            peak = max(peak, own.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    stop.set()
    watcher.join()
    return peak - before


@linux
def test_a_short_spike_is_found_by_the_high_water_mark_and_not_by_looking_now_and_then() -> None:
    spike()
    assert all(by_our_probe(spike) == pytest.approx(64 * MIB, rel=0.01) for _ in range(5))
    for naive in (by_resident_set_afterwards, by_sampling_at_100_hz):
        assert not all(naive(spike) == pytest.approx(64 * MIB, rel=0.01) for _ in range(5))


@linux
def test_a_childs_maximum_is_its_parents_where_it_is_asked_of_getrusage() -> None:
    program = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    with mmap.mmap(-1, 256 * MIB) as held:
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
        naive = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(naive.stdout) > 256 * MIB  # `test_memory` has what our probe says of such a child
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > 256 * MIB


def two_then_one() -> None:
    first, second = torch.empty(MIB), torch.empty(MIB)
    del first, second
    torch.empty(MIB)


def by_tracemalloc() -> float:
    tracemalloc.start()
    try:
        two_then_one()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def by_the_profilers_table() -> float:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        two_then_one()
    return sum(event.self_cpu_memory_usage for event in profiled.key_averages())


def test_the_peak_of_tensors_is_seen_by_no_tool_that_adds_up_or_knows_python_alone() -> None:
    assert tensors.peak_tensor_bytes(two_then_one) == 8 * MIB
    for naive in (by_tracemalloc, by_the_profilers_table):
        assert naive() != pytest.approx(8 * MIB, rel=0.01)


def test_an_asynchronous_launch_that_is_not_waited_for_takes_no_time(simulated_clock) -> None:
    pending_s: list[float] = []

    def wait() -> None:
        simulated_clock.work(sum(pending_s))
        pending_s.clear()

    waited = clock.sample(lambda: pending_s.append(0.01), wait, seconds=0.0, least=6, most=6)
    naive = clock.sample(lambda: pending_s.append(0.01), None, seconds=0.0, least=6, most=6)
    assert waited.durations_s == pytest.approx((0.01,) * 6) and naive.durations_s == (0.0,) * 6


def test_an_interval_from_one_process_iterations_does_not_hold_what_launches_do() -> None:
    generator = np.random.default_rng(0)
    ours = naive = 0
    for _ in range(300):
        # Launches differ by 5 %, iterations within one by 1 %: the true median is 1.
        launches = np.exp(generator.normal(0, 0.05, 10))
        iterations = launches[0] * np.exp(generator.normal(0, 0.01, 200))
        of_launches, of_one = launch_interval(launches.tolist()), sample_quantile(iterations.tolist(), 0.5)
        assert of_one is not None and of_launches.low is not None and of_launches.high is not None
        assert of_one.low is not None and of_one.high is not None
        ours += of_launches.low <= 1 <= of_launches.high
        naive += of_one.low <= 1 <= of_one.high
    assert ours / 300 >= 0.93 and naive / 300 < 0.2
