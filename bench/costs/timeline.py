"""The wall time of a run outside the bodies of its stages, by part.

Bodies may overlap, so the time outside is the wall time less the union of the bodies' spans. A part counts
only while no body runs; the rest is handing over: forking, pipes, worker exits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, time

Span = tuple[float, float]

RUNNER = "starting the runner: imports, plan"
SERVERS = "starting fork servers: imports"
STOPPING = "stopping fork servers"
STORE = "writing the store"
REPORT = "writing the report"

_EPOCH_S = time() - monotonic()


def now_s() -> float:
    """Return seconds since the epoch; this clock cannot be set back while the process runs."""
    return _EPOCH_S + monotonic()


def process_started_s() -> float:
    """Return when this process started, in seconds since the epoch.

    Taken by the clock that the kernel stamps processes with: its boot time, which other ways go by, drifts
    away from the wall clock on machines that sleep.
    """
    if not Path("/proc/self/stat").exists():
        return now_s()
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age_s = clock_gettime(CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return now_s() - age_s


HANDOVER = "forking, handing over, worker start and exit"


class Timeline:
    """Collects spans of wall time, in seconds since the epoch, as a run goes on."""

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        self._bodies: list[Span] = []
        self._parts: list[tuple[str, Span]] = []

    def body(self, start_s: float, seconds: float) -> None:
        """Add the span of a stage's own work."""
        self._bodies.append((start_s, start_s + seconds))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the span of this block under a name."""
        started = now_s()
        try:
            yield
        finally:
            self.add_part(name, started, now_s())

    def add_part(self, name: str, start_s: float, end_s: float) -> None:
        self._parts.append((name, (start_s, end_s)))

    def outside(self, end_s: float) -> dict[str, float]:
        """Return the seconds outside all bodies by part, up to `end_s`; they add up to the whole."""
        taken = union([span for span in self._bodies if span[1] > self._started_s])
        whole = (end_s - self._started_s) - length_s(taken)
        seconds: dict[str, float] = {}
        for name, span in self._parts:
            before = length_s(taken)
            taken = union([*taken, span])
            seconds[name] = seconds.get(name, 0.0) + length_s(taken) - before
        seconds[HANDOVER] = max(0.0, whole - sum(seconds.values()))
        return seconds


def union(spans: list[Span]) -> list[Span]:
    """Return spans that cover the same time and do not overlap."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def length_s(spans: list[Span]) -> float:
    """Return the seconds that spans take together."""
    return sum(end - start for start, end in spans)
