"""Where a launch ran. Names no host and no user."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.digests import versions_of
from bench.instruments.accelerators import describe_accelerators
from bench.instruments.control_group import cpu_quota, memory_limit_bytes
from bench.instruments.processor import describe_processor
from bench.instruments.variables import deciding_variables
from techniques.backends.cpu_features import cpu_features

ALWAYS = ("fvcore", "numpy", "onnx", "onnxruntime", "onnxscript", "sklearn", "torch", "torchao", "triton")
"""Packages that always affect results; techniques add those that they need."""


def describe(device: str = "cpu", packages: Iterable[str] = ()) -> dict[str, Any]:
    """Return what stays the same over a run, as plain JSON values; unknown things are None.

    `packages` are those whose versions are added to `ALWAYS`, by the names they are imported under.
    """
    import psutil

    features = cpu_features()
    return {
        "cpu": describe_processor(),
        "cpu_features": {name: list(getattr(features, name)) for name in ("cpu", "pytorch", "onednn")},
        **({"cpu_limits": dict(features.limits)} if features.limits else {}),
        "accelerators": describe_accelerators()[0] if device == "cuda" else [],
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limit_bytes": memory_limit_bytes(),
        "cpu_quota": cpu_quota(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": versions_of([*ALWAYS, *packages]),
        "affinity_cores": _affinity_cores(),
        "threads": sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None,
        "allocator": _allocator(),
        **({"variables": variables} if (variables := deciding_variables()) else {}),
        "git": _git(),
    }


def describe_torch_cuda() -> dict[str, Any] | None:
    """Return how PyTorch uses CUDA as it is set now, None where it is not imported.

    `fp32_*` say whether fp32 is multiplied as TF32 (`tf32`) or not: a backend sets that as it loads.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    cudnn = torch.backends.cudnn
    return {
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version(),
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_deterministic": cudnn.deterministic,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "fp32_matmul": torch.backends.cuda.matmul.fp32_precision,
        "fp32_conv": cudnn.conv.fp32_precision,
    }


def _affinity_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _allocator() -> str:
    preloaded = [Path(entry).name for entry in os.environ.get("LD_PRELOAD", "").split(":") if entry]
    name = ", ".join(preloaded) or " ".join(platform.libc_ver()).strip() or "the system's"
    settings = [f"{key}={value}" for key, value in sorted(os.environ.items()) if _sets_allocator(key)]
    return " ".join([name, *settings])


def _sets_allocator(variable: str) -> bool:
    return variable == "GLIBC_TUNABLES" or (variable.startswith("MALLOC_") and variable.endswith("_"))


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
