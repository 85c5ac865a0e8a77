"""The timed pass, during which only the clock runs."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

Call = Callable[[], object]

FALLING = 0.02
"""A window whose median is lower than the one before it by more than this share is still warming up."""

_WINDOWS_IN_LIMIT = 40

SHORT_S = 100e-6
"""Calls shorter than this are timed in blocks: the clock's own cost would show in a single one."""

_BLOCK_S = 1e-3


@dataclass(frozen=True)
class Warmup:
    """How a warm-up went: calls made, whether they ended steady, seconds of the first and of all.

    `typical_s` is the median of its last window.
    """

    calls: int
    steady: bool
    first_s: float
    elapsed_s: float
    typical_s: float

    @property
    def calls_per_sample(self) -> int:
        """Return how many calls one sample should time: 1, or a block of about a millisecond."""
        return 1 if self.typical_s >= SHORT_S else max(1, round(_BLOCK_S / max(self.typical_s, 1e-9)))


@dataclass(frozen=True)
class Samples:
    """Seconds of each call, and from the start of the first to the end of the last.

    Where `calls_per_sample` is over 1 a duration is the mean of a block of calls. `cpu_s` are the seconds
    that this process had CPUs over all calls, `page_faults` how often the kernel had to give it memory.
    """

    durations_s: tuple[float, ...]
    elapsed_s: float
    calls_per_sample: int = 1
    cpu_s: float = 0.0
    page_faults: int = 0

    @property
    def calls(self) -> int:
        """Return how many calls were timed."""
        return len(self.durations_s) * self.calls_per_sample

    def of_parts(self, parts: int) -> Samples:
        """Return the samples of the equal parts that each call had, such as the steps of a round."""
        durations_s = tuple(duration_s / parts for duration_s in self.durations_s)
        return replace(self, durations_s=durations_s, calls_per_sample=self.calls_per_sample * parts)


def warm_up(
    call: Call, synchronize: Callable[[], None] | None = None, *, least_calls: int = 5, most_s: float = 2.0
) -> Warmup:
    """Call until the time of a call no longer falls, or `most_s` have passed since the end of the first call.

    The first call stands alone: it allocates, autotunes or compiles. The rest is cut into windows that last
    `most_s` / 40 (50 ms) and have at least half of `least_calls`, so that cheap calls get windows of hundreds
    and dear ones of a few. Steady is a window whose median is at least 98 % of that of the window before.
    A rise ends the warm-up as well: that is the machine being disturbed, which no further call cures.
    """
    least = max(1, -(-(least_calls - 1) // 2))
    began = time.perf_counter()
    _timed(call, synchronize)
    first_s = time.perf_counter() - began
    deadline = time.perf_counter() + most_s
    calls, steady, before, now = 1, False, float("inf"), first_s
    while not steady:
        window = _window(call, synchronize, least, most_s / _WINDOWS_IN_LIMIT, deadline)
        calls += len(window)
        now = median(window)
        if time.perf_counter() >= deadline:
            break
        steady = before < float("inf") and now >= (1 - FALLING) * before
        before = now
    return Warmup(calls, steady, first_s, time.perf_counter() - began, now)


def sample(
    call: Call,
    synchronize: Callable[[], None] | None = None,
    *,
    seconds: float = 0.4,
    least: int = 6,
    most: int = 20000,
    calls_per_sample: int = 1,
    between: Callable[[], None] | None = None,
) -> Samples:
    """Time calls one by one, or in blocks, for about `seconds`: at least `least` samples, at most `most`.

    `synchronize` waits for the device and is inside each sample: without it an asynchronous launch would be
    timed, not its work. `between` is called before each sample and is in none of them, nor in `elapsed_s`.
    The garbage collector is off meanwhile, and then as it was before. Raises whatever a call raises.
    """
    now = time.perf_counter_ns
    durations: list[int] = []
    turns = range(calls_per_sample)
    with collector_off():
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = end = now()
        deadline = start + int(seconds * 1e9)
        while (end < deadline or len(durations) < least) and len(durations) < most:
            if between is not None:
                between()
            begin = now()
            for _ in turns:
                call()
                if synchronize is not None:
                    synchronize()
            end = now()
            durations.append(end - begin)
    after = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1e9 * calls_per_sample
    return Samples(
        tuple(duration / scale for duration in durations),
        (end - start if between is None else sum(durations)) / 1e9,
        calls_per_sample,
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt,
    )


@contextmanager
def collector_off() -> Iterator[None]:
    """Collect garbage now, and not again before the block ends."""
    # No gc.freeze here: to undo it would also thaw what a fork server froze, and copy its pages.
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def tick_s(reads: int = 2000) -> float:
    """Return the smallest step that the clock was seen to make, in seconds."""
    times = [time.perf_counter_ns() for _ in range(reads)]
    steps = [later - earlier for earlier, later in pairwise(times) if later > earlier]
    return min(steps, default=0) / 1e9 or time.get_clock_info("perf_counter").resolution


def _window(
    call: Call, synchronize: Callable[[], None] | None, least: int, seconds: float, deadline: float
) -> list[float]:
    end = time.perf_counter() + seconds
    window: list[float] = []
    while len(window) < least or time.perf_counter() < end:
        window.append(_timed(call, synchronize))
        if time.perf_counter() >= deadline:
            break
    return window


def _timed(call: Call, synchronize: Callable[[], None] | None) -> float:
    begin = time.perf_counter()
    call()
    if synchronize is not None:
        synchronize()
    return time.perf_counter() - begin
