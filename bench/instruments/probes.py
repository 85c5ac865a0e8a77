"""The kernel's probes that can be read here: they watch a launch and measure its memory."""

from __future__ import annotations

import os
from pathlib import Path

from bench.instruments.disturbance import CPU_PRESSURE
from bench.instruments.kernel_files import read_number, read_text
from bench.instruments.memory import reset_high_water_mark
from bench.instruments.processor import CPU0
from bench.instruments.processor_time import CPU_TIMES, stolen_s

_EVENT_SOURCES = Path("/sys/bus/event_source/devices")
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
_MAX_PARANOID = 2
"""The highest level of the mainline kernel, at which a process may still count its own events."""


def describe_probes() -> dict[str, str]:
    """Return each probe by what it tells, with why it cannot be read here, or an empty text where it can."""
    return {
        "cpu_pressure": "" if read_text(CPU_PRESSURE) else f"{CPU_PRESSURE} cannot be read",
        "stolen_time": "" if stolen_s() is not None else f"{CPU_TIMES} does not tell it",
        "cpu_frequency": _no_frequency(),
        "performance_counters": _no_counters(),
        "resident_peak_reset": "" if reset_high_water_mark() else "the kernel refuses it",
    }


def _no_frequency() -> str:
    return "" if (CPU0 / "cpufreq/scaling_cur_freq").exists() else "the kernel shows no cpufreq"


def _no_counters() -> str:
    # Intel's hybrid chips have cpu_core and cpu_atom; ARM's sources are named after the core.
    if not any(_EVENT_SOURCES.glob("cpu*")) and not any(_EVENT_SOURCES.glob("armv*")):
        return "this machine shows no hardware counters; virtual machines often hide them"
    level = read_number(_PARANOID)
    if level is not None and level > _MAX_PARANOID and os.geteuid() != 0:
        return f"perf_event_paranoid is {level:.0f}; a process may count its own events up to {_MAX_PARANOID}"
    return ""
