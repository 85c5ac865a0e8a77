"""The timed pass of a stage, and the measurements from its samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from bench.analysis.statistics import effective_samples, relative_spread, sample_quantile
from bench.instruments import clock
from bench.instruments.boards import Throttling
from bench.instruments.clock import Call, Samples, Warmup
from bench.instruments.energy import WINDOW_S, measure_energy
from bench.instruments.gpu import WATCHED_S, GpuProbe
from bench.instruments.speed import reference_s
from bench.records import Measurement, Request
from bench.stages.settings import SamplingSettings
from techniques.backends.accelerators import QUEUED_CALLS, EventTimer, flush_cache, torch_device
from techniques.backends.protocol import OwnClock

MIN_TICKS = 50
"""Ticks of the clock that the shortest sample must last, so that reading it costs at most 2 %."""

UPPER = {"_p90_s": 0.9, "_p99_s": 0.99}


_FEWEST_OF_A_THIRD = 8
"""Samples whose median says something; fewer are not held against each other."""


@dataclass(frozen=True)
class TimedPass:
    """A launch's warm-up and samples; seconds of the reference product, and of a tick of the clock."""

    warmup: Warmup
    samples: Samples
    reference_s: float | None
    tick_s: float
    throttled: tuple[Measurement, ...] = ()

    def steadiness(self) -> list[Measurement]:
        """Measure what shows whether other work disturbed the launch."""
        samples, warmup = self.samples, self.warmup
        unsteady = "" if warmup.steady else "calls were still getting faster when the warm-up's time was up"
        return [
            Measurement("warm_up_s", warmup.elapsed_s, n=warmup.calls, reason=unsteady),
            *self._reference(),
            Measurement("timed_cpu_over_wall", samples.cpu_s / samples.elapsed_s),
            Measurement("page_faults", samples.page_faults / samples.calls, n=samples.calls),
            *self._drift(),
            *self.throttled,
            self._clock(),
        ]

    def _drift(self) -> list[Measurement]:
        durations_s = self.samples.durations_s
        third = len(durations_s) // 3
        if third < _FEWEST_OF_A_THIRD:
            return []
        ratio = median(durations_s[-third:]) / median(durations_s[:third])
        return [Measurement("samples_drift", ratio, n=len(durations_s))]

    def _reference(self) -> list[Measurement]:
        method = "the slower of before and after the timed pass"
        return (
            [] if self.reference_s is None else [Measurement("reference_s", self.reference_s, method=method)]
        )

    def _clock(self) -> Measurement:
        """Judge the clock's resolution: INVALID if the shortest sample is only a few ticks."""
        shortest_s = min(self.samples.durations_s) * self.samples.calls_per_sample
        fine = shortest_s >= MIN_TICKS * self.tick_s
        ticks = f"{shortest_s / self.tick_s:.0f} ticks of {self.tick_s:.1g} s"
        reason = "" if fine else f"clock too coarse: the shortest sample is {ticks}"
        return Measurement("valid", float(fine), qualifier="clock", reason=reason)


def timed_pass(
    call: Call,
    synchronize: Callable[[], None],
    request: Request[SamplingSettings],
    *,
    ahead: Callable[[], None] | None = None,
) -> TimedPass:
    """Warm up, then time calls for the request's sampling time; nothing but the clock runs meanwhile.

    What is done `ahead` of each sample is in none of them.
    """
    # A GPU's clock does not show in a product as small as this, and its launch is the CPU's work.
    on_cpu = request.device == "cpu"
    before_s = reference_s() if on_cpu else None  # first, so that its threads are idle after the warm-up
    warmup = clock.warm_up(call, synchronize, least_calls=1 if request.smoke else 5)
    between = _in_turn(flushing(request), ahead)
    with Throttling(request.device) as throttling:
        samples = clock.sample(
            call,
            synchronize,
            seconds=request.settings.sample_s,
            # What a block's first call leaves in the caches would serve its others.
            calls_per_sample=1 if between else warmup.calls_per_sample,
            between=between,
        )
    slower_s = None if before_s is None else max(before_s, reference_s())
    return TimedPass(warmup, samples, slower_s, clock.tick_s(), throttling.measurements())


def _in_turn(*calls: Callable[[], None] | None) -> Callable[[], None] | None:
    """Return what makes these calls one after the other, None where there are none."""
    wanted = [call for call in calls if call is not None]

    def make() -> None:
        for call in wanted:
            call()

    return make if wanted else None


def flushing(request: Request[SamplingSettings]) -> Callable[[], None] | None:
    """Return what empties the device's caches before a sample, None where calls may find them full."""
    # A TPU has no cache that a call could find something in: its programs move their data themselves.
    if not request.settings.flush_cache or request.device == "tpu":
        return None
    return partial(flush_cache, torch_device(request.device))


def device_pass(call: Call, device: torch.device, stream: Any = None) -> list[Measurement]:
    """Measure a call on an accelerator among others queued there; nothing on the CPU, which queues none.

    `stream` is the one that calls are queued on where that is not the current one.
    """
    if device.type == "cpu":
        return []
    with EventTimer(device, stream) as timer:
        for _ in range(QUEUED_CALLS):
            call()
    method = "the device's events around calls queued one after another"
    return [Measurement("device_s", timer.seconds() / QUEUED_CALLS, n=QUEUED_CALLS, method=method)]


def own_clock_pass(call: Call, program: object, request: Request[SamplingSettings]) -> list[Measurement]:
    """Measure calls by the runtime's own clock, if it has one, as its own benchmark tool does."""
    if not isinstance(program, OwnClock):
        return []
    if request.settings.flush_cache:
        reason = "the timed calls flush the caches first, but this pass does not"
        return [Measurement("runtime_s", None, reason=reason)]
    durations_s: list[float] = []
    until = time.perf_counter() + (0.0 if request.smoke else request.settings.sample_s)
    while not durations_s or time.perf_counter() < until:
        call()
        durations_s.append(program.latest_call_s())
    method = "the runtime's own clock"
    return [Measurement("runtime_s", median(durations_s), n=len(durations_s), method=method)]


def gpu_pass(call: Call, synchronize: Callable[[], None], request: Request[Any]) -> tuple[Measurement, ...]:
    """Measure an accelerator's memory, and its power and utilization over `WATCHED_S` of calls.

    A smoke run makes one call, of which neither is known.
    """
    if request.device == "cpu":
        return ()
    with GpuProbe(request.device) as probe:
        watched = request.device == "cuda" and not request.smoke  # NVML samples no other device
        until = time.perf_counter() + (WATCHED_S if watched else 0.0)
        while True:
            call()
            synchronize()
            if time.perf_counter() >= until:
                break
    return probe.measurements()


def energy_pass(
    call: Call, synchronize: Callable[[], None], request: Request[SamplingSettings]
) -> Measurement:
    """Measure the energy of one call over a window of many; a smoke run makes one call."""
    window_s = 0.0 if request.smoke else WINDOW_S
    return measure_energy(call, synchronize, request.device, window_s=window_s)


def timings(metric: str, samples: Samples) -> list[Measurement]:
    """Measure the median with all samples, the upper quantiles that their number supports, and the spread.

    Of calls timed in blocks no quantile of single calls is known.
    """
    durations_s, block = samples.durations_s, samples.calls_per_sample
    n = len(durations_s)
    method = f"blocks of {block} calls" if block > 1 else "each call"
    return [
        _median(metric, durations_s, method),
        *(
            _upper(metric.removesuffix("_s") + suffix, durations_s, quantile, block)
            for suffix, quantile in UPPER.items()
        ),
        Measurement("fastest_s", min(durations_s), n=n, method=method),
        Measurement("within_variation", relative_spread(durations_s), n=n, method=method),
        Measurement("effective_samples", effective_samples(durations_s), n=n),
    ]


def _median(metric: str, durations_s: Sequence[float], method: str) -> Measurement:
    n = len(durations_s)
    interval = sample_quantile(durations_s, 0.5)
    if interval is None:
        reason = f"{n} samples are too few for the median"
        return Measurement(metric, None, n=n, reason=reason, samples=tuple(durations_s))
    return Measurement(
        metric, interval.value, interval.low, interval.high, n, method, samples=tuple(durations_s)
    )


def _upper(metric: str, durations_s: Sequence[float], quantile: float, block: int) -> Measurement:
    n = len(durations_s)
    if block > 1:
        reason = f"calls this short are timed in blocks of {block}: no quantile of single calls is known"
        return Measurement(metric, None, n=n, reason=reason)
    return quantile_of(metric, durations_s, quantile)


def quantile_of(metric: str, samples: Sequence[float], quantile: float, qualifier: str = "") -> Measurement:
    """Measure a quantile with its interval; unknown, with the reason, if there are too few samples."""
    n, interval = len(samples), sample_quantile(samples, quantile)
    if interval is None:
        reason = f"{n} samples are too few for the {quantile:g} quantile"
        return Measurement(metric, None, n=n, reason=reason, qualifier=qualifier)
    return Measurement(
        metric, interval.value, interval.low, interval.high, n, interval.method, qualifier=qualifier
    )
