"""The CPU: model, cores, caches, vector and matrix extensions, what decides its clock."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from bench.analysis.roofline import cache_bytes
from bench.instruments.kernel_files import read_text
from techniques.backends.cpu_features import cpu_features, cpu_flags, first_processor

# fmt: off
VECTOR_EXTENSIONS = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni",
    "asimd", "asimddp", "bf16", "sve", "sve2",
)
# fmt: on
MATRIX_EXTENSIONS = ("amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "i8mm", "sme")

CPU0 = Path("/sys/devices/system/cpu/cpu0")


def describe_processor() -> dict[str, Any]:
    """Return what stays the same of the CPU, as plain JSON values; unknown things are None."""
    import psutil

    info, flags = first_processor(), cpu_flags()
    return {
        "model": info.get("model name") or platform.processor() or platform.machine(),
        "vendor": info.get("vendor_id") or info.get("CPU implementer"),
        "architecture": platform.machine(),
        "extensions": [name for name in (*VECTOR_EXTENSIONS, *MATRIX_EXTENSIONS) if name in flags],
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "caches": _caches(),
        "governor": read_text(CPU0 / "cpufreq/scaling_governor"),
        "min_khz": read_text(CPU0 / "cpufreq/scaling_min_freq"),
        "max_khz": read_text(CPU0 / "cpufreq/scaling_max_freq"),
        "turbo": _turbo(),
        "virtual_machine": "hypervisor" in flags,
    }


def kind_of_processor() -> str:
    """Return what decides which machine code runs here: the model, and the extensions that work in it.

    A virtual machine's model may name no generation, and ARM's names none at all. Limits below the CPU
    (`ONEDNN_MAX_CPU_ISA`) decide too, where some are set.
    """
    info = first_processor()
    arm = " ".join(info[key] for key in ("CPU implementer", "CPU part") if key in info)
    model = info.get("model name") or f"{platform.machine()} {arm}".strip()
    flags = cpu_flags()
    known = [name for name in (*VECTOR_EXTENSIONS, *MATRIX_EXTENSIONS) if name in flags]
    limits = [f"{name}={value}" for name, value in cpu_features().limits.items()]
    return " ".join([model, *known, *limits])


def clock_mhz() -> float | None:
    """Return the first core's clock now, as the kernel tells it; in a virtual machine the nominal one."""
    text = first_processor().get("cpu MHz")
    return float(text) if text else None


def _turbo() -> bool | None:
    folder = CPU0.parent
    blocked, boost = read_text(folder / "intel_pstate/no_turbo"), read_text(folder / "cpufreq/boost")
    return blocked == "0" if blocked is not None else boost == "1" if boost is not None else None


def largest_cache_bytes() -> int:
    """Return the size of the largest cache of the first core, 0 where the kernel tells of none."""
    return max(map(cache_bytes, _caches().values()), default=0)


def _caches() -> dict[str, str]:
    found = {}
    for place in sorted((CPU0 / "cache").glob("index*")):
        level, kind, size = (read_text(place / name) for name in ("level", "type", "size"))
        if level and kind and size:
            found[f"L{level} {kind.lower()}"] = size
    return found
