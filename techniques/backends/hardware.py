"""Whether this machine has what a backend runs on, found out without importing a runtime."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

from techniques.registry import Obstacle

_DRIVER = Path("/proc/driver/nvidia/version")


def without_cuda() -> Obstacle | None:
    """Say why PyTorch cannot use an NVIDIA GPU here, or None where it can."""
    if not _DRIVER.exists() and shutil.which("nvidia-smi") is None:
        wanted = "an NVIDIA GPU with its driver"
        return Obstacle(f"needs {wanted}; none was found", hardware=wanted)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # CUDA reads the list up to the first entry that names no device.
    if visible is not None and not re.match(r"\s*(\d|GPU-|MIG-)", visible):
        return Obstacle("CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return Obstacle("needs the package torch, built for CUDA", "pip install torch torchao")
    version = Path(spec.origin).with_name("version.py").read_text()
    if re.search(r"^cuda\b[^=]*=\s*None", version, re.MULTILINE):
        return Obstacle("this PyTorch is a CPU build; install one for CUDA (https://pytorch.org/get-started)")
    return None


def without_cpp_compiler() -> Obstacle | None:
    """Say why Inductor cannot compile for the CPU here, or None where it can."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None and shutil.which("clang++") is None:
        return Obstacle(f"needs a C++ compiler; {compiler} was not found", "apt install g++")
    return None
