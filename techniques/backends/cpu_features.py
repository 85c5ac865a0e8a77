"""What arithmetic this CPU has, and what of it PyTorch and oneDNN may use; imports neither."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

PYTORCH_LIMIT = "ATEN_CPU_CAPABILITY"
ONEDNN_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # the first that is set counts

# Any of a name's groups of flags is enough, all flags of the group; flags as in /proc/cpuinfo.
_FEATURES: Mapping[str, tuple[frozenset[str], ...]] = {
    "AVX2": (frozenset({"avx2"}),),
    "AVX-512": (frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}),),
    "VNNI": (frozenset({"avx512_vnni"}), frozenset({"avx_vnni"})),
    "AMX int8": (frozenset({"amx_tile", "amx_int8"}),),
    "AMX bf16": (frozenset({"amx_tile", "amx_bf16"}),),
    "bf16": (frozenset({"avx512_bf16"}), frozenset({"amx_bf16"}), frozenset({"bf16"})),
    "fp16": (frozenset({"avx512_fp16"}), frozenset({"amx_fp16"}), frozenset({"asimdhp"})),
}
_KNOWN = frozenset(flag for groups in _FEATURES.values() for group in groups for flag in group)
_AVX512 = {"avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"}
# What each level adds to the one before. Source: oneDNN's developer guide, "CPU Dispatcher Control".
_ONEDNN_LEVELS: Mapping[str, Set[str]] = {
    "SSE41": set(),
    "AVX": set(),
    "AVX2": {"avx2"},
    "AVX2_VNNI": {"avx2", "avx_vnni"},
    "AVX2_VNNI_2": {"avx2", "avx_vnni"},
    "AVX512_CORE": _AVX512,
    "AVX512_CORE_VNNI": _AVX512 | {"avx512_vnni"},
    "AVX512_CORE_BF16": _AVX512 | {"avx512_vnni", "avx512_bf16"},
    "AVX512_CORE_FP16": _AVX512 | {"avx512_vnni", "avx512_bf16", "avx_vnni", "avx512_fp16"},
    "AVX512_CORE_AMX": _AVX512
    | {"avx512_vnni", "avx512_bf16", "avx_vnni", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"},
}
_PYTORCH_LEVELS: Mapping[str, Set[str]] = {"default": set(), "avx2": {"avx2"}, "avx512": _AVX512}


@dataclass(frozen=True)
class CpuFeatures:
    """Names of features: those of the CPU, and those that PyTorch's own kernels and oneDNN's may use.

    `limits` are the environment variables that hold either below what the CPU has, with their values.
    """

    cpu: tuple[str, ...]
    pytorch: tuple[str, ...]
    onednn: tuple[str, ...]
    limits: Mapping[str, str]


def cpu_features() -> CpuFeatures:
    """Return what this CPU and this process's environment allow; nothing where the CPU is unknown."""
    flags = cpu_flags() & _KNOWN
    variable = next((name for name in ONEDNN_LIMITS if name in os.environ), ONEDNN_LIMITS[0])
    level, isa = os.environ.get(PYTORCH_LIMIT, "").lower(), os.environ.get(variable, "").upper()
    most = flags & _AVX512 if _is_x86() else flags  # of its own kernels: products are oneDNN's
    pytorch, onednn = most & _PYTORCH_LEVELS.get(level, most), flags & _ONEDNN_LEVELS.get(isa, flags)
    held = {PYTORCH_LIMIT: (level, pytorch < most), variable: (isa, onednn < flags)}
    limits = {name: value for name, (value, holds) in held.items() if holds}
    return CpuFeatures(_named(flags), _named(pytorch), _named(onednn), limits)


def cpu_flags() -> frozenset[str]:
    """Return the flags of the first processor: as the kernel tells them, else as PyTorch does."""
    flags = (first_processor().get(key) for key in ("flags", "Features"))
    known = next((text.split() for text in flags if text), None)
    if known is None and "torch" in sys.modules:
        capabilities = sys.modules["torch"].cpu.get_capabilities()
        known = [name.replace("512_f", "512f") for name, has in capabilities.items() if has is True]
    return frozenset(known or ())


def first_processor() -> dict[str, str]:
    """Return what the kernel says of the first processor, by key; nothing where it says nothing."""
    try:
        text = CPUINFO.read_text()
    except (OSError, ValueError):
        return {}
    info: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    return info


def int8_saturates(*, within_onednn: bool = False) -> str:
    """Say that products of int8 saturate here and why, or "" where they are exact.

    Without VNNI x86 adds pairs of 8-bit products up in 16 bits: 2 x 255 x 127 is more than those hold.
    Numbers of 7 bits fit. `within_onednn` heeds the limits that oneDNN does; other runtimes know none.
    """
    found = cpu_features()
    if not _is_x86() or "VNNI" in (found.onednn if within_onednn else found.cpu):
        return ""
    limit = [f"{name}={value}" for name, value in found.limits.items() if name in ONEDNN_LIMITS]
    held = f" ({limit[0]})" if within_onednn and limit and "VNNI" in found.cpu else ""
    return f"int8 products saturate on this CPU: no VNNI{held}"


def _named(flags: Iterable[str]) -> tuple[str, ...]:
    found = frozenset(flags)
    return tuple(name for name, groups in _FEATURES.items() if any(group <= found for group in groups))


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")
