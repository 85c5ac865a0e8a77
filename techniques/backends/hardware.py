"""Whether this machine has the hardware of a backend, found without importing a runtime."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from functools import cache
from pathlib import Path

from techniques.backends.cpu_features import ONEDNN_LIMITS, cpu_features
from techniques.registry import Obstacle

_JETSON = Path("/etc/nv_tegra_release")  # boards whose GPU NVML may not know
_AMD_DRIVER = Path("/dev/kfd")
_GRAPHICS = Path("/sys/class/drm")
_INTEL = "0x8086"  # its number as a maker of devices on the PCI bus


def without_cuda() -> Obstacle | None:
    """Say why PyTorch cannot use an NVIDIA GPU here, or None where it can.

    Asks the driver through NVML, which starts no CUDA: a container sees its host's driver in `/proc` even
    where it was given no GPU.
    """
    if not _JETSON.exists() and _nvidia_gpus() == 0:
        return _missing("an NVIDIA GPU with its driver")
    return _hidden("CUDA_VISIBLE_DEVICES") or _not_built_for("cuda", "CUDA")


def without_rocm() -> Obstacle | None:
    """Say why PyTorch cannot use an AMD GPU here, or None where it can."""
    if not _AMD_DRIVER.exists():
        return _missing("an AMD GPU with its driver (ROCm)")
    return _hidden("HIP_VISIBLE_DEVICES") or _not_built_for("hip", "ROCm")


def without_mps() -> Obstacle:
    """Say why PyTorch cannot use an Apple GPU: it can on macOS only, and this suite runs on Linux only."""
    return Obstacle("requires macOS, where this suite does not run yet")


def without_xpu() -> Obstacle | None:
    """Say why PyTorch cannot use an Intel GPU here, or None where it can."""
    makers = [path.read_text().strip() for path in _GRAPHICS.glob("renderD*/device/vendor")]
    return _not_built_for("xpu", "XPU") if _INTEL in makers else _missing("an Intel GPU with its driver")


def without_tensorrt() -> Obstacle | None:
    """Say why TensorRT cannot run here, or None where it can."""
    if obstacle := without_cuda():
        return obstacle
    if importlib.util.find_spec("tensorrt") is None:
        return Obstacle("requires the package tensorrt", "pip install tensorrt")
    return None


def without_cuda_compiler() -> Obstacle | None:
    """Say why Inductor cannot compile for an NVIDIA GPU here, or None where it can."""
    return without_cuda() or without_cpp_compiler()


def without_whole_cpu() -> Obstacle | None:
    """Say why OpenVINO cannot run here, or None where it can.

    Its plugin chooses kernels by the CPU alone; its oneDNN then refuses those above a limit.
    """
    held = {name: isa for name, isa in cpu_features().limits.items() if name in ONEDNN_LIMITS}
    for name, isa in held.items():
        return Obstacle(f"{name}={isa} limits oneDNN below this CPU, which OpenVINO ignores", f"unset {name}")
    return None


def without_cpp_compiler() -> Obstacle | None:
    """Say why Inductor cannot compile for the CPU here, or None where it can.

    It takes the compiler that `CXX` names, else g++ and no other (PyTorch 2.13, on Linux).
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        found = f"{compiler or 'CXX, which is empty,'} was not found"
        return Obstacle(f"requires a C++ compiler; {found}", "apt install g++")
    return None


_INSTALL = "pip install torch torchao"


@cache  # four backends ask, and a driver may take a second to start
def _nvidia_gpus() -> int:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no such package, no driver, or none of its GPUs is shown to this container
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
    finally:
        pynvml.nvmlShutdown()


def _missing(wanted: str) -> Obstacle:
    return Obstacle(f"requires {wanted}; none was found", hardware=wanted)


def _hidden(variable: str) -> Obstacle | None:
    """Say where a setting hides every GPU: drivers read it up to the first entry that names no device."""
    visible = os.environ.get(variable)
    if visible is not None and not re.match(r"\s*(\d|GPU-|MIG-)", visible):
        return Obstacle(f"{variable} hides every GPU", f"unset {variable}")
    return None


def _not_built_for(attribute: str, name: str) -> Obstacle | None:
    """Say where PyTorch is missing, or a build whose `torch.version` has None for that attribute."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return Obstacle(f"requires the package torch, built for {name}", _INSTALL)
    version = Path(spec.origin).with_name("version.py").read_text()
    if re.search(rf"^{attribute}\b[^=]*=\s*['\"]", version, re.MULTILINE):
        return None
    is_for_other = re.search(r"^(cuda|hip|xpu)\b[^=]*=\s*['\"]", version, re.MULTILINE)
    built = "built for another device" if is_for_other else "a CPU build"
    return Obstacle(f"this PyTorch is {built}; install one for {name} (https://pytorch.org/get-started)")
