"""Whether this machine has what a backend runs on, found out without importing a runtime."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path


def without_cuda() -> str | None:
    """Say why PyTorch cannot use an NVIDIA GPU here, or None where it can."""
    if not Path("/proc/driver/nvidia/version").exists() and shutil.which("nvidia-smi") is None:
        return "needs an NVIDIA GPU with its driver; none was found"
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return "needs the package torch, built for CUDA"
    version = Path(spec.origin).with_name("version.py").read_text()
    if re.search(r"^cuda\b[^=]*=\s*None", version, re.MULTILINE):
        return "this PyTorch is a CPU build; install one for CUDA (https://pytorch.org/get-started)"
    return None


def without_cpp_compiler() -> str | None:
    """Say why Inductor cannot compile for the CPU here, or None where it can."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None and shutil.which("clang++") is None:
        return f"needs a C++ compiler; {compiler} was not found (Debian: apt install g++)"
    return None
