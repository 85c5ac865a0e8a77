"""`bench doctor`: what this machine can measure, how still it holds, what it can do, and what to change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.allocator import KEEP
from bench.instruments.ceilings import Ceilings, measure_ceilings
from bench.instruments.kernel_files import read_text
from bench.instruments.processor import CPU0
from bench.machine import inspect, lines
from bench.metrics import format_value
from bench.statistics import Interval, ratio_interval, relative_spread

LAUNCHES = 6
"""Processes that time the same: how far their medians lie apart is the noise of A against A."""

_NOISY = 0.05
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_SIBLINGS = CPU0 / "topology/thread_siblings_list"

_PROBE = """
import sys, torch
from bench.instruments import clock
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
    torch.nn.Flatten(), torch.nn.Linear(16 * 14 * 14, 10),
)
batch = torch.randn(64, 3, 28, 28)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

@torch.inference_mode()
def infer():
    return net(batch)

def step():
    optimizer.zero_grad()
    net(batch).square().mean().backward()
    optimizer.step()

for call in (infer, step):
    per_sample = clock.warm_up(call).calls_per_sample
    durations = sorted(clock.sample(call, seconds=0.4, calls_per_sample=per_sample).durations_s)
    print(durations[len(durations) // 2])
"""

Medians = Mapping[str, list[float]]


@dataclass(frozen=True)
class Diagnosis:
    """What `bench machine` knows, the ceilings, the noise of A against A by metric, advice.

    `allocator` is how many times as long a call takes where the system's allocator is left as it is.
    """

    machine: Mapping[str, Any]
    ceilings: Mapping[str, Ceilings]
    noise: Mapping[str, float]
    allocator: Mapping[str, Interval]
    advice: tuple[str, ...]


def diagnose() -> Diagnosis:
    """Measure for about a minute. The machine should do nothing else meanwhile."""
    import torch

    machine = inspect()
    threads = int(machine["used"]["threads"])
    torch.set_num_threads(threads)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    ceilings = {device: measure_ceilings(torch.device(device)) for device in devices}
    kept, left = measure_launches(threads)
    noise = {name: relative_spread(medians) for name, medians in kept.items()}
    allocator = {name: ratio_interval(left[name], medians) for name, medians in kept.items()}
    return Diagnosis(machine, ceilings, noise, allocator, tuple(advise(machine, noise, allocator)))


def measure_launches(threads: int, launches: int = LAUNCHES) -> tuple[Medians, Medians]:
    """Return medians of equal launches by kind of call: with memory kept, as workers do, and without.

    In turns, so that both have the same machine.
    """
    kept: dict[str, list[float]] = {"inference": [], "training step": []}
    left: dict[str, list[float]] = {name: [] for name in kept}
    environments: tuple[Mapping[str, str], ...] = (KEEP, {})
    for _ in range(launches):
        for medians, environment in zip((kept, left), environments, strict=True):
            command = [sys.executable, "-c", _PROBE, str(threads)]
            printed = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
            ).stdout.split()
            for name, value in zip(medians, printed, strict=True):
                medians[name].append(float(value))
    return kept, left


def advise(
    machine: Mapping[str, Any], noise: Mapping[str, float], allocator: Mapping[str, Interval]
) -> Iterator[str]:
    """Yield what would make timings here steadier or faster, each with how to do it.

    In the order of what each has been seen to cost: an allocator, other load, a noisy machine, its clock.
    """
    dearest = max(allocator, key=lambda name: allocator[name].low or 0.0)
    if (allocator[dearest].low or 0.0) > 1 + _NOISY:
        settings = " ".join(f"{name}={value}" for name, value in KEEP.items())
        yield (
            f"the system's allocator gives memory back at each call: the probe's {dearest} takes "
            f"{allocator[dearest].value:.2f} times as long. Workers here keep memory; run your own programs "
            f"with {settings}, or preload tcmalloc or jemalloc"
        )
    load = (read_text("/proc/loadavg") or "0").split()[0]
    cpu = machine["cpu"]
    if float(load) > 0.5 * len(machine["used"]["cores"]):
        yield f"the load is {load}: stop what else runs, timings share the cores with it"
    if max(noise.values(), default=0.0) > _NOISY:
        worst = f"{100 * max(noise.values()):.0f} %"
        yield f"equal launches lie {worst} apart: ask for 10 or 20 of them, compare what ran side by side"
    if cpu["governor"] not in (None, "performance"):
        yield f"the governor is {cpu['governor']}: `cpupower frequency-set -g performance` holds the clock"
    if cpu["turbo"]:
        yield "turbo is on: the clock falls as the chip warms; off, timings are slower and steadier"
    if machine["used"]["cpu_quota"]:
        yield "a CPU quota throttles in bursts: give whole cores instead (a cpuset)"
    siblings = read_text(_SIBLINGS) or ""
    if "," in siblings or "-" in siblings:
        yield f"cores {siblings} share one: pin one thread to each core, by `taskset`, for steadier timings"
    huge = read_text(_HUGE_PAGES) or ""
    if "[never]" in huge:
        yield f"huge pages are off: `echo madvise > {_HUGE_PAGES}` speeds large models"
    if cpu["virtual_machine"]:
        yield "this is a virtual machine: neighbours and the host's clock are not seen; repeat on another day"


def diagnosis_lines(found: Diagnosis) -> Iterator[str]:
    """Yield the diagnosis for a person."""
    yield from lines(found.machine)
    yield ""
    for device, ceilings in found.ceilings.items():
        yield f"Ceilings of {device}, measured"
        yield from _ceiling_lines(ceilings)
        yield ""
    yield f"Noise: how far apart {LAUNCHES} equal launches lie (robust standard deviation of their medians)"
    for name, share in found.noise.items():
        yield f"  {name:14}{100 * share:.1f} %"
    yield ""
    yield "Allocator: a call with the system's as it is, over one where memory is kept, as workers do"
    for name, ratio in found.allocator.items():
        yield f"  {name:14}{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
    yield ""
    yield "Advice, by effect" if found.advice else "Advice: none, this machine is set up well"
    yield from (f"  {number}. {text}" for number, text in enumerate(found.advice, 1))


def _ceiling_lines(ceilings: Ceilings) -> Iterator[str]:
    for name, rate in ceilings.operations_per_s.items():
        unit = "OP" if name == "int8" else "FLOP"
        known = f"{rate / 1e9:,.1f} G{unit}/s" if rate else ceilings.reasons.get(name, "cannot multiply here")
        yield f"  {name:14}{known}"
    copied = ceilings.reasons.get("memory") or format_value("ceiling_bytes_per_s", ceilings.bytes_per_s)
    yield f"  {'memory':14}{copied}, read and written"
