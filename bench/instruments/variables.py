"""Environment variables that change what the same code measures."""

from __future__ import annotations

import os
from collections.abc import Mapping

DECIDING = (
    *("OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES", "OMP_SCHEDULE", "OMP_DYNAMIC"),
    *("GOMP_SPINCOUNT", "GOMP_CPU_AFFINITY", "KMP_BLOCKTIME", "KMP_AFFINITY", "KMP_LIBRARY"),
    *("MKL_DYNAMIC", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"),
    *("PYTORCH_NO_CUDA_MEMORY_CACHING", "XLA_FLAGS"),
)
"""Variables that a user may have set. Numbers of threads, limits to the CPU's instructions, and allocators
are recorded apart (`threads`, `cpu_limits`, `allocator`)."""


def deciding_variables() -> dict[str, str]:
    """Return those of them that are set, by name."""
    return {name: os.environ[name] for name in sorted(DECIDING) if name in os.environ}


def slow_variables(variables: Mapping[str, str]) -> list[str]:
    """Return a line for each of these variables whose value makes kernels slow, and how to mend it.

    Threads that sleep between two kernels must be woken for each: small layers took 4 to 5 times as long.
    """
    passive = variables.get("OMP_WAIT_POLICY", "").strip().lower() == "passive"
    spins = variables.get("GOMP_SPINCOUNT", "").strip() == "0"
    sleeping = [
        *(["OMP_WAIT_POLICY=passive"] if passive else []),
        *(["GOMP_SPINCOUNT=0"] if spins else []),
    ]
    lines = [
        f"{name} is set: threads sleep between two kernels, so small layers take several times as long; "
        "unset it unless you serve with it"
        for name in sleeping
    ]
    blocking = variables.get("CUDA_LAUNCH_BLOCKING", "0").strip() not in ("", "0")
    return [
        *lines,
        *(["CUDA_LAUNCH_BLOCKING is set: each kernel is waited for; unset it"] if blocking else []),
    ]
