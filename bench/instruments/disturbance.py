"""What disturbed a launch, by its own signs: other tasks, the hypervisor, a throttled or shared GPU.

The last word is `bench.analysis.disturbed`, which judges all launches of a run together.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from bench.instruments.boards import GpuState, gpu_state
from bench.instruments.kernel_files import read_number, read_text
from bench.instruments.processor import CPU0
from bench.instruments.processor_time import busy_s, stolen_s, thread_seconds

CPU_PRESSURE = Path("/proc/pressure/cpu")

WAITED_SHARE = 0.05
"""Share of a launch that ready tasks may wait for a CPU, by /proc/pressure/cpu, before it is disturbed."""

ACTIVE_SHARE = 0.01
"""Share of a launch that a thread is on a CPU to count among those that can wait for one another."""

STOLEN_SHARE = 0.02
"""Share of a launch's time on its CPUs that a hypervisor may give to others before it is disturbed."""

SWITCHES_PER_S = 400
"""Involuntary context switches per second and thread that a launch may have before it is disturbed.

They say less than pressure: one thread at full speed had up to 195, one that got two thirds of a core 100.
"""

MIN_CPU_OVER_WALL = 0.9
"""CPU seconds over seconds of a timed pass on the CPU: a thread that always has work to do has at least 1."""


THROTTLED_SHARE = 0.02
"""Share of a timed pass that heat or the board may hold a GPU's clocks down before it is disturbed."""


class Disturbance:
    """Records over a `with` block what else went on: pressure, steal, involuntary switches, load, the GPU.

    Of several `ranks` that work together this is one: the others take as much of the CPUs as it does, and it
    may have a context on its GPU already.
    """

    def __init__(self, device: str = "cpu", ranks: int = 1) -> None:
        self._device, self._ranks = device, ranks
        self._found: dict[str, float | None] = {}
        self._gpu = GpuState()

    def __enter__(self) -> Disturbance:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        self._pressure_us, self._stolen_s = _cpu_pressure_us(), stolen_s()
        self._busy_s, self._threads = busy_s(), thread_seconds()
        self._load = os.getloadavg()[0]
        # Without a context of the launch's own, whoever is there now is a stranger, by any numbering.
        self._gpu = gpu_state(ours=int(self._ranks > 1)) if self._device == "cuda" else GpuState()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall_s = max(time.perf_counter() - self._wall, 1e-9)
        cpu_s, busy = time.process_time() - self._cpu, busy_s()
        cpus = len(os.sched_getaffinity(0))
        on_cpu = [now - self._threads.get(name, 0.0) for name, now in thread_seconds().items()]
        self._found = {
            "wall_s": wall_s,
            "cpu_over_wall": cpu_s / wall_s,
            "involuntary_switches": float(
                resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - self._switches
            ),
            "cpu_pressure": _share(self._pressure_us, _cpu_pressure_us(), 1e6 * wall_s),
            "others_cpu": _share(self._busy_s, None if busy is None else busy - self._ranks * cpu_s, wall_s),
            "active_threads": float(sum(seconds > ACTIVE_SHARE * wall_s for seconds in on_cpu)),
            "cpus": float(cpus),
            "stolen": _share(self._stolen_s, stolen_s(), wall_s * cpus),
            "load_1min_before": self._load,
            "load_1min": os.getloadavg()[0],
            "cpu_khz": read_number(CPU0 / "cpufreq/scaling_cur_freq"),
        }
        if self._device == "cuda":
            self._gpu = self._gpu.joined(gpu_state(ours=1))

    def to_json(self) -> dict[str, Any]:
        """Return what was recorded; nothing where the block was not entered."""
        return {**self._found, **self._gpu.to_json()} if self._found else {}

    def disturbed(self, threads: int, timed: Mapping[str, float | None] = MappingProxyType({})) -> str:
        """Say what disturbed the launch, or nothing.

        In a trial, one disturbed launch ran 8 times as slow; pressure and switches revealed it. `timed` is
        what the timed pass alone measured: it never waits for a file, and a GPU is idle after it.
        """
        return next(self._disturbances(threads, timed), "")

    def _disturbances(self, threads: int, timed: Mapping[str, float | None]) -> Iterator[str]:
        found: Mapping[str, float] = {name: value for name, value in self._found.items() if value is not None}
        if found.get("cpu_pressure", 0.0) > WAITED_SHARE and not _by_itself(found):
            yield f"ready tasks waited for a CPU {100 * found['cpu_pressure']:.0f} % of the time"
        if found.get("stolen", 0.0) > STOLEN_SHARE:
            yield f"the hypervisor gave {100 * found['stolen']:.0f} % of the CPUs' time to others"
        switches, wall_s = found.get("involuntary_switches", 0.0), found.get("wall_s", 1.0)
        if switches > max(20.0, SWITCHES_PER_S * threads * wall_s):
            yield f"{switches:.0f} involuntary context switches in {wall_s:.1f} s"
        on_cpu = timed.get("timed_cpu_over_wall") if self._device == "cpu" else None
        if on_cpu is not None and on_cpu < MIN_CPU_OVER_WALL:
            yield f"it had a CPU for only {100 * on_cpu:.0f} % of the timed pass"
        if self._gpu.strangers:
            yield f"{self._gpu.strangers} other processes were on the GPU"
        throttled = timed.get("gpu_throttled") or 0.0
        if throttled > THROTTLED_SHARE:
            yield f"the GPU was throttled {100 * throttled:.0f} % of the timed pass"


def _by_itself(found: Mapping[str, float]) -> bool:
    """Say whether the launch's own threads waited for one another, and for nobody else.

    Others keep a task waiting no longer than they run. Threads that sleep between two kernels often wake on
    the same CPU (`OMP_WAIT_POLICY=passive`), and some runtimes have more threads than there are CPUs (XLA).
    """
    return found.get("others_cpu", 1.0) <= WAITED_SHARE


def _share(before: float | None, after: float | None, whole: float) -> float | None:
    return None if before is None or after is None else max(0.0, after - before) / whole


def _cpu_pressure_us() -> int | None:
    text = read_text(CPU_PRESSURE)
    return int(text.splitlines()[0].rpartition("total=")[2]) if text else None
