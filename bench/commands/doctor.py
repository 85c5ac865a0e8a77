"""`bench doctor`: this machine's hardware, peak rates and timing noise, and what to change."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands import Command, Plugins
from bench.commands.machine import inspect, lines
from bench.execution.allocator import KEEP
from bench.formatting import format_value, say
from bench.instruments.kernel_files import read_text
from bench.instruments.processor import CPU0
from bench.instruments.variables import slow_variables
from bench.plugins import load_plugins
from bench.processes import output_of

if TYPE_CHECKING:
    from bench.analysis.statistics import Interval
    from bench.instruments.ceilings import Ceilings

LAUNCHES = 6
"""Processes that time the same code: the spread of their medians is the noise of A against A."""

_NOISY = 0.05
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_SIBLINGS = CPU0 / "topology/thread_siblings_list"

ALLOCATED = ("inference", "training step")
"""Metrics that show what an allocator costs."""

Medians = Mapping[str, list[float]]


@dataclass(frozen=True)
class Advice:
    """What to change and how; `effect` is its measured cost as a fraction of a timing, if it was measured."""

    text: str
    effect: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What `bench machine` shows, the ceilings, the noise of A against A by metric, and advice.

    `allocator` is the time per call with the system's default allocator, relative to the workers' setting.
    """

    machine: Mapping[str, Any]
    ceilings: Mapping[str, Ceilings]
    noise: Mapping[str, float]
    allocator: Mapping[str, Interval]
    advice: tuple[Advice, ...]


def doctor(plugin: Plugins = None) -> None:
    """Measure this machine's peak rates and timing noise, and advise what would improve its timings.

    Takes half a minute; the machine should be idle meanwhile.
    """
    load_plugins(plugin or [])
    for line in diagnosis_lines(diagnose()):
        say(line)


COMMANDS = (Command("doctor", "Maintain", doctor),)


def diagnose() -> Diagnosis:
    """Measure for about a minute; the machine should be idle meanwhile."""
    import torch

    from bench.analysis.statistics import ratio_interval, relative_spread
    from bench.instruments.ceilings import measure_ceilings

    machine = inspect()
    threads = int(machine["used"]["threads"])
    torch.set_num_threads(threads)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    ceilings = {device: measure_ceilings(torch.device(device)) for device in devices}
    kept, left = measure_launches(threads)
    noise = {name: relative_spread(medians) for name, medians in kept.items()}
    allocator = {name: ratio_interval(left[name], kept[name]) for name in ALLOCATED}
    advice = sorted(advise(machine, noise, allocator), key=lambda found: -(found.effect or 0.0))
    return Diagnosis(machine, ceilings, noise, allocator, tuple(advice))


def measure_launches(threads: int, launches: int = LAUNCHES) -> tuple[Medians, Medians]:
    """Return what identical launches measure, by metric: with freed memory kept, as in workers, and without.

    They alternate, so that both meet the same machine. Raises BenchError if a launch fails or is killed.
    """
    kept: dict[str, list[float]] = {}
    left: dict[str, list[float]] = {}
    environments: tuple[Mapping[str, str], ...] = (KEEP, {})
    command = [sys.executable, "-m", "bench.selftest.doctor_launch", str(threads)]
    for _ in range(launches):
        for measured, environment in zip((kept, left), environments, strict=True):
            printed = output_of(command, {**os.environ, **environment})
            for name, value in json.loads(printed).items():
                measured.setdefault(name, []).append(float(value))
    return kept, left


def advise(
    machine: Mapping[str, Any], noise: Mapping[str, float], allocator: Mapping[str, Interval]
) -> Iterator[Advice]:
    """Yield what would make timings here steadier or faster, and how to do it.

    Advice without a measured effect is ordered by what it cost on other machines.
    """
    dearest = max(allocator, key=lambda name: allocator[name].low or 0.0)
    slower = allocator[dearest]
    if (slower.low or 0.0) > 1 + _NOISY:
        settings = " ".join(f"{name}={value}" for name, value in KEEP.items())
        yield Advice(
            f"the system's allocator returns memory to the OS at each call: the probe's {dearest} takes "
            f"{slower.value:.2f} times as long. Workers keep freed memory; run your own programs "
            f"with {settings}, or preload tcmalloc or jemalloc",
            slower.value - 1,
        )
    load = (read_text("/proc/loadavg") or "0").split()[0]
    busy = float(load) / len(machine["used"]["cores"])
    if busy > 0.5:
        text = f"the load is {load}: stop other programs, which share the cores with timings"
        yield Advice(text, busy)
    noisiest = max(noise, key=lambda name: noise[name])
    if noise[noisiest] > _NOISY:
        yield Advice(
            f"identical launches differ by {100 * noise[noisiest]:.0f} % ({noisiest}): use 10 or 20 "
            "launches, and compare values of the same run",
            noise[noisiest],
        )
    yield from map(Advice, _unmeasured(machine))


def _unmeasured(machine: Mapping[str, Any]) -> Iterator[str]:
    yield from slow_variables(machine["used"]["variables"])
    cpu = machine["cpu"]
    if cpu["governor"] not in (None, "performance"):
        yield f"the governor is {cpu['governor']}: `cpupower frequency-set -g performance` fixes the clock"
    if cpu["turbo"]:
        yield "turbo is on: the clock falls as the chip warms; without it, timings are slower and steadier"
    if machine["used"]["cpu_quota"]:
        yield "a CPU quota throttles in bursts: assign whole cores instead (a cpuset)"
    siblings = read_text(_SIBLINGS) or ""
    if "," in siblings or "-" in siblings:
        yield f"logical cores {siblings} share a physical core: pin one thread to each core, by `taskset`"
    huge = read_text(_HUGE_PAGES) or ""
    if "[never]" in huge:
        yield f"huge pages are off: `echo madvise > {_HUGE_PAGES}` speeds large models"
    if cpu["virtual_machine"]:
        yield "this is a virtual machine: other guests and the host's clock are unseen; repeat on another day"


def diagnosis_lines(found: Diagnosis) -> Iterator[str]:
    """Yield the diagnosis for a person."""
    yield from lines(found.machine)
    yield ""
    for device, ceilings in found.ceilings.items():
        yield f"Measured ceilings of {device}"
        yield from _ceiling_lines(ceilings)
        yield ""
    yield f"Noise: spread of {LAUNCHES} identical launches (robust standard deviation), by metric"
    for name, share in found.noise.items():
        yield f"  {name:22}{100 * share:.1f} %"
    yield ""
    yield "Allocator: time per call with the system's default, relative to workers, which keep freed memory"
    for name, ratio in found.allocator.items():
        yield f"  {name:22}{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
    yield ""
    yield (
        "Advice: by measured effect, then what has none"
        if found.advice
        else "Advice: none, this machine is set up well"
    )
    for number, advice in enumerate(found.advice, 1):
        effect = f" [{100 * advice.effect:.0f} %]" if advice.effect else ""
        yield f"  {number}. {advice.text}{effect}"


def _ceiling_lines(ceilings: Ceilings) -> Iterator[str]:
    for name, rate in ceilings.operations_per_s.items():
        unit = "OP" if name == "int8" else "FLOP"
        known = f"{rate / 1e9:,.1f} G{unit}/s" if rate else ceilings.reasons.get(name, "not supported here")
        yield f"  {name:14}{known}"
    copied = ceilings.reasons.get("memory") or format_value("ceiling_bytes_per_s", ceilings.bytes_per_s)
    yield f"  {'memory':14}{copied}, read and written"
