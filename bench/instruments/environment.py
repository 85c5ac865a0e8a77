"""Where a launch ran, and what disturbed it. Names no host and no user."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.instruments.accelerators import describe_accelerators
from bench.instruments.control_group import cpu_quota, memory_limit_bytes
from bench.instruments.kernel_files import read_number, read_text
from bench.instruments.processor import CPU0, describe_processor

# fmt: off
LIBRARIES = (
    "torch", "torchao", "numpy", "onnx", "onnxruntime", "onnxscript", "openvino", "executorch", "jax",
    "fvcore", "nncf", "torch-pruning", "pytorch-optimizer", "schedulefree", "transformers",
    "scikit-learn",
)
# fmt: on

CPU_PRESSURE = Path("/proc/pressure/cpu")

STOLEN_SHARE = 0.05
"""Share of a launch that ready tasks may wait for a CPU, by /proc/pressure/cpu, before it is disturbed."""

SWITCHES_PER_S = 400
"""Involuntary context switches a second, for each thread, that a launch may have before it is disturbed.

They tell less than pressure: one thread at full speed had up to 195, one that got two thirds of a core 100.
"""


def describe(device: str = "cpu") -> dict[str, Any]:
    """Return what stays the same over a run, as plain JSON values; unknown things are None."""
    import psutil

    return {
        "cpu": describe_processor(),
        "accelerators": describe_accelerators()[0] if device == "cuda" else [],
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limit_bytes": memory_limit_bytes(),
        "cpu_quota": cpu_quota(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
        "affinity_cores": _affinity_cores(),
        "threads": sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None,
        "allocator": _allocator(),
        "git": _git(),
    }


class Disturbance:
    """Records over a `with` block what else went on: pressure, involuntary switches, load."""

    def __init__(self) -> None:
        self._found: dict[str, float | None] = {}

    def __enter__(self) -> Disturbance:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        self._pressure_us = _cpu_pressure_us()
        self._load = os.getloadavg()[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall_s = max(time.perf_counter() - self._wall, 1e-9)
        before, after = self._pressure_us, _cpu_pressure_us()
        known = before is not None and after is not None
        self._found = {
            "wall_s": wall_s,
            "cpu_over_wall": (time.process_time() - self._cpu) / wall_s,
            "involuntary_switches": float(
                resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - self._switches
            ),
            "cpu_pressure": ((after or 0) - (before or 0)) / 1e6 / wall_s if known else None,
            "load_1min_before": self._load,
            "load_1min": os.getloadavg()[0],
            "cpu_khz": read_number(CPU0 / "cpufreq/scaling_cur_freq"),
        }

    def to_json(self) -> dict[str, float | None]:
        """Return what was recorded; nothing where the block was not entered."""
        return dict(self._found)

    def disturbed(self, threads: int) -> str:
        """Say what disturbed the launch, or nothing.

        One disturbed launch ran 8 times as slow in a trial; these two gave it away.
        """
        pressure = self._found.get("cpu_pressure")
        if pressure is not None and pressure > STOLEN_SHARE:
            return f"ready tasks waited for a CPU {100 * pressure:.0f} % of the time"
        switches = self._found.get("involuntary_switches") or 0.0
        wall_s = self._found.get("wall_s") or 1.0
        if switches > max(20.0, SWITCHES_PER_S * threads * wall_s):
            return f"{switches:.0f} involuntary context switches in {wall_s:.1f} s"
        return ""


def _affinity_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _allocator() -> str:
    preloaded = [Path(entry).name for entry in os.environ.get("LD_PRELOAD", "").split(":") if entry]
    return ", ".join(preloaded) or " ".join(platform.libc_ver()).strip() or "the system's"


def _git() -> dict[str, Any] | None:
    """Return the revision of the folder that the command runs in, and whether it has changes."""
    try:
        revision = _command("git", "rev-parse", "HEAD")
        return {"revision": revision, "changed": bool(_command("git", "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _command(*words: str) -> str:
    # Without the variable `git status` takes the index's lock, and a commit made meanwhile fails.
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10, env=quiet)
    return done.stdout.strip()


def _cpu_pressure_us() -> int | None:
    text = read_text(CPU_PRESSURE)
    if not text:
        return None
    return int(text.splitlines()[0].rpartition("total=")[2])


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
