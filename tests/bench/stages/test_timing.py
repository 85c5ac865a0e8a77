"""What a launch's samples become."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from bench.instruments.clock import Samples, Warmup
from bench.stages import timing
from bench.stages.settings import SamplingSettings
from bench.stages.timing import (
    QUEUED_CALLS,
    TimedPass,
    device_pass,
    gpu_pass,
    own_clock_pass,
    timed_pass,
    timings,
)


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


def steadiness(samples: Samples, tick_s: float = 1e-8) -> dict[tuple[str, str], object]:
    warmup = Warmup(calls=12, steady=False, first_s=0.1, elapsed_s=0.4, typical_s=1e-3)
    found = TimedPass(warmup, samples, 80e-6, tick_s).steadiness()
    return {(entry.metric, entry.qualifier): entry for entry in found}


def test_samples_that_get_slower_inside_a_launch_are_told():
    slower = tuple(1e-3 * (1 + 0.01 * number) for number in range(30))
    assert steadiness(Samples(slower, 0.04, 1))["samples_drift", ""].value == pytest.approx(1.245 / 1.045)
    assert steadiness(Samples((1e-3,) * 30, 0.03, 1))["samples_drift", ""].value == 1.0
    assert ("samples_drift", "") not in steadiness(Samples((1e-3,) * 10, 0.01, 1))


def test_cpu_time_and_page_faults_are_told_for_the_pass_and_for_a_call():
    found = steadiness(Samples((1e-3,) * 10, 0.01, 1, cpu_s=0.018, page_faults=70))
    assert found["timed_cpu_over_wall", ""].value == pytest.approx(1.8)
    assert found["page_faults", ""].value == 7
    assert found["reference_s", ""].value == 80e-6
    assert found["warm_up_s", ""].value == 0.4 and "still getting faster" in found["warm_up_s", ""].reason


def test_a_sample_of_a_few_ticks_of_the_clock_is_invalid():
    assert steadiness(Samples((1e-3,) * 10, 0.01))["valid", "clock"].value == 1
    coarse = steadiness(Samples((1e-3,) * 10, 0.01), tick_s=1e-4)["valid", "clock"]
    assert coarse.value == 0 and "clock too coarse: the shortest sample is 10 ticks" in coarse.reason


def test_a_device_times_calls_that_are_queued_and_the_cpu_queues_none(monkeypatch: pytest.MonkeyPatch):
    calls: list[int] = []
    assert device_pass(lambda: calls.append(1), torch.device("cpu")) == [] == calls
    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None, elapsed_time=lambda _: 40.0)
    events = SimpleNamespace(Event=lambda enable_timing: event)
    monkeypatch.setattr(torch, "get_device_module", lambda device: events)
    (found,) = device_pass(lambda: calls.append(1), torch.device("cuda"))
    assert len(calls) == QUEUED_CALLS == found.n
    assert found.metric == "device_s" and found.value == pytest.approx(0.04 / QUEUED_CALLS)


@pytest.mark.parametrize(("device", "flushes"), [("cpu", True), ("tpu", False)])
def test_caches_are_flushed_before_each_sample_on_devices_that_have_some(monkeypatch, device, flushes):
    flushed: list[torch.device] = []
    monkeypatch.setattr(timing, "flush_cache", flushed.append)
    settings = SamplingSettings(sample_s=0.01, flush_cache=True)
    request = SimpleNamespace(device=device, settings=settings, smoke=True)
    timed = timed_pass(lambda: None, lambda: None, request)
    assert len(flushed) == (len(timed.samples.durations_s) if flushes else 0)


def test_an_accelerator_is_watched_over_many_calls_and_the_cpu_over_none(monkeypatch, simulated_clock):
    monkeypatch.setattr(timing, "WATCHED_S", 0.3)
    monkeypatch.setattr(timing, "GpuProbe", lambda device: nullcontext(SimpleNamespace(measurements=tuple)))
    for device, smoke, least, most in (
        ("cpu", False, 0, 0),
        ("cuda", True, 1, 1),
        ("cuda", False, 300, 301),
        ("mps", False, 1, 1),
    ):
        calls: list[float] = []
        request = SimpleNamespace(device=device, smoke=smoke)
        gpu_pass(lambda: simulated_clock.work(1e-3), lambda: calls.append(0.0), request)  # noqa: B023
        assert least <= len(calls) <= most


def test_a_runtime_that_times_its_calls_is_asked_for_each(monkeypatch):
    class Runtime:
        calls = 0

        def __call__(self) -> None:
            self.calls += 1

        def latest_call_s(self) -> float:
            return 1e-3 * self.calls

    runtime = Runtime()
    request = SimpleNamespace(smoke=False, settings=SamplingSettings(sample_s=0.2))
    (found,) = own_clock_pass(runtime, runtime, request)
    assert (found.metric, found.n) == ("runtime_s", runtime.calls) and runtime.calls > 1
    assert found.value == pytest.approx(1e-3 * (runtime.calls + 1) / 2)
    assert own_clock_pass(runtime, object(), request) == []
