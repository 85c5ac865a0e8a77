"""Where a launch ran, and what disturbed it. Names no host and no user."""

from __future__ import annotations

import contextlib
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

# fmt: off
EXTENSIONS = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8",
    "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve",
)
LIBRARIES = (
    "torch", "torchao", "numpy", "onnx", "onnxruntime", "onnxscript", "openvino", "executorch", "jax",
    "fvcore", "nncf", "torch-pruning", "pytorch-optimizer", "schedulefree", "transformers",
    "scikit-learn",
)
# fmt: on

_CPU0 = Path("/sys/devices/system/cpu/cpu0")

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
        "cpu": _cpu(),
        "accelerators": _accelerators() if device == "cuda" else [],
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limit_bytes": _memory_limit(),
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
            "cpu_khz": _number(_CPU0 / "cpufreq/scaling_cur_freq"),
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


def _cpu() -> dict[str, Any]:
    import psutil

    info: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            info.setdefault(key.strip(), value.strip())
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return {
        "model": info.get("model name") or platform.processor() or platform.machine(),
        "vendor": info.get("vendor_id") or info.get("CPU implementer"),
        "architecture": platform.machine(),
        "extensions": [name for name in EXTENSIONS if name in flags],
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "caches": _caches(),
        "governor": _read(_CPU0 / "cpufreq/scaling_governor"),
        "min_khz": _read(_CPU0 / "cpufreq/scaling_min_freq"),
        "max_khz": _read(_CPU0 / "cpufreq/scaling_max_freq"),
        "turbo": _turbo(),
        "virtual_machine": "hypervisor" in flags,
    }


def _turbo() -> bool | None:
    folder = _CPU0.parent
    blocked, boost = _read(folder / "intel_pstate/no_turbo"), _read(folder / "cpufreq/boost")
    return blocked == "0" if blocked is not None else boost == "1" if boost is not None else None


def _affinity_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _caches() -> dict[str, str]:
    found = {}
    for place in sorted((_CPU0 / "cache").glob("index*")):
        level, kind, size = (_read(place / name) for name in ("level", "type", "size"))
        if level and kind and size:
            found[f"L{level} {kind.lower()}"] = size
    return found


def _accelerators() -> list[dict[str, Any]]:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no driver, no library: then there is none to describe
        return []
    driver = pynvml.nvmlSystemGetDriverVersion()
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        entry: dict[str, Any] = {"name": pynvml.nvmlDeviceGetName(handle), "driver": driver}
        entry["memory_bytes"] = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        with contextlib.suppress(pynvml.NVMLError):
            entry["power_limit_w"] = pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3
        with contextlib.suppress(pynvml.NVMLError):
            entry["max_sm_mhz"] = pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)
        found.append(entry)
    pynvml.nvmlShutdown()
    return found


def _memory_limit() -> int | None:
    """Return the least memory limit of this control group and those around it, version 2 or 1, or None."""
    limits = []
    for line in (_read("/proc/self/cgroup") or "").splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        root = Path("/sys/fs/cgroup") / controllers
        group = root / place.strip("/")
        for folder in (group, *group.parents):
            limits.append(_number(folder / name) if folder.is_relative_to(root) else None)
    # Version 1 writes "no limit" as the largest number of pages.
    return min((int(limit) for limit in limits if limit is not None and limit < 2**60), default=None)


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
    text = _read("/proc/pressure/cpu")
    if not text:
        return None
    return int(text.splitlines()[0].rpartition("total=")[2])


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _number(path: Path) -> float | None:
    text = _read(path)
    return float(text) if text and text.isdigit() else None
