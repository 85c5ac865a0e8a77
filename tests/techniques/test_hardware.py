"""Whether a backend's hardware is here, from what drivers, PyTorch builds and settings look like."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from techniques.backends import BACKENDS, hardware
from techniques.backends.cpu_features import CpuFeatures

CPU_BUILD = "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n"
ROCM_BUILD = "__version__ = '2.13.0+rocm7.1'\ncuda: Optional[str] = None\nhip: Optional[str] = '7.1'\n"
XPU_BUILD = CPU_BUILD + "xpu: Optional[str] = '20250301'\n"
CUDA_BUILD = "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pretend drivers of NVIDIA and AMD; returns a function that says which build of PyTorch is here."""
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04")
    monkeypatch.setattr(hardware, "_nvidia_gpus", lambda: 1)
    monkeypatch.setattr(hardware, "_JETSON", tmp_path / "none")
    monkeypatch.setattr(hardware, "_AMD_DRIVER", tmp_path / "version")
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)

    def install(version: str | None) -> None:
        (tmp_path / "version.py").write_text(version or "")
        spec = SimpleNamespace(origin=str(tmp_path / "__init__.py")) if version else None
        monkeypatch.setattr(hardware.importlib.util, "find_spec", lambda name: spec)

    return install


def test_a_driver_and_a_cuda_build_of_pytorch_are_enough(driver):
    driver(CUDA_BUILD)
    assert hardware.without_cuda() is None


def test_a_cpu_build_of_pytorch_beside_a_driver_is_told(driver):
    driver(CPU_BUILD)
    assert "CPU build" in str(hardware.without_cuda())


def test_a_driver_without_pytorch_gets_the_command(driver):
    driver(None)
    found = hardware.without_cuda()
    assert found is not None and found.command.startswith("pip install torch") and not found.hardware


@pytest.mark.parametrize("value", ["", "-1", "-1,0", "NoDevFiles"])
def test_a_setting_that_hides_every_gpu_is_told(driver, monkeypatch, value):
    driver(CUDA_BUILD)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    found = hardware.without_cuda()
    assert found is not None and found.command == "unset CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize("value", ["0", " 1,0", "GPU-8932f937", "MIG-a1b2"])
def test_a_setting_that_shows_a_gpu_is_no_obstacle(driver, monkeypatch, value):
    driver(CUDA_BUILD)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert hardware.without_cuda() is None


class NVMLError(Exception):
    pass


def _refuse() -> None:
    raise NVMLError("Driver Not Loaded")


@pytest.mark.parametrize(("init", "count"), [(_refuse, 1), (lambda: None, 0)])
def test_without_a_gpu_that_nvml_shows_it_wants_hardware_and_names_no_command(monkeypatch, init, count):
    nvml = SimpleNamespace(
        nvmlInit=init, nvmlShutdown=lambda: None, nvmlDeviceGetCount=lambda: count, NVMLError=NVMLError
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(hardware, "_nvidia_gpus", hardware._nvidia_gpus.__wrapped__)
    monkeypatch.setattr(hardware, "_JETSON", Path("/nowhere"))
    found = hardware.without_cuda()
    assert found is not None and "NVIDIA GPU" in found.hardware and not found.command


def test_an_amd_gpu_wants_a_build_for_rocm(driver):
    driver(ROCM_BUILD)
    assert hardware.without_rocm() is None
    assert "built for another device; install one for CUDA" in str(hardware.without_cuda())
    driver(CPU_BUILD)
    assert "this PyTorch is a CPU build; install one for ROCm" in str(hardware.without_rocm())


def test_a_setting_that_hides_every_amd_gpu_is_told(driver, monkeypatch):
    driver(ROCM_BUILD)
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "-1")
    assert "HIP_VISIBLE_DEVICES" in str(hardware.without_rocm())


def test_an_intel_gpu_is_known_by_its_maker_and_wants_a_build_for_xpu(driver, monkeypatch, tmp_path):
    vendor = tmp_path / "renderD128/device/vendor"
    vendor.parent.mkdir(parents=True)
    monkeypatch.setattr(hardware, "_GRAPHICS", tmp_path)
    vendor.write_text("0x10de\n")
    driver(XPU_BUILD)
    assert "Intel GPU" in str(hardware.without_xpu())
    vendor.write_text("0x8086\n")
    assert hardware.without_xpu() is None
    driver(CPU_BUILD)
    assert "install one for XPU" in str(hardware.without_xpu())


def test_an_apple_gpu_is_never_offered_since_the_suite_does_not_run_on_macos():
    assert str(hardware.without_mps()) == "requires macOS, where this suite does not run yet"
    assert BACKENDS.get("mps").unavailable() == str(hardware.without_mps())


def test_tensorrt_wants_a_gpu_first_and_then_its_package(driver, monkeypatch, tmp_path):
    driver(CUDA_BUILD)
    assert hardware.without_tensorrt() is None
    torch_alone = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(
        hardware.importlib.util, "find_spec", lambda name: torch_alone if name == "torch" else None
    )
    assert str(hardware.without_tensorrt()) == "requires the package tensorrt: pip install tensorrt"
    monkeypatch.setattr(hardware, "_nvidia_gpus", lambda: 0)
    found = hardware.without_tensorrt()
    assert found is not None and "NVIDIA GPU" in found.hardware


@pytest.mark.parametrize(
    ("named", "found", "wanted"),
    [
        (None, {"clang++"}, "g++"),
        (None, {"g++"}, None),
        ("", {"g++"}, "CXX, which is empty,"),
        ("clang++", {"clang++"}, None),
        ("icpx", {"g++", "clang++"}, "icpx"),
    ],
)
def test_only_the_compiler_that_inductor_takes_counts(monkeypatch, named, found, wanted):
    monkeypatch.delenv("CXX", raising=False)
    if named is not None:
        monkeypatch.setenv("CXX", named)
    monkeypatch.setattr(hardware.shutil, "which", lambda name: name if name in found else None)
    obstacle = hardware.without_cpp_compiler()
    assert obstacle is None if wanted is None else f"{wanted} was not found" in str(obstacle)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend a machine without any accelerator."""
    monkeypatch.setattr(hardware, "_nvidia_gpus", lambda: 0)
    for name in ("_JETSON", "_AMD_DRIVER", "_GRAPHICS"):
        monkeypatch.setattr(hardware, name, tmp_path / "none")


@pytest.mark.parametrize("name", ["cuda", "rocm", "mps", "xpu", "tensorrt", "cuda_compiler"])
def test_what_a_machine_without_accelerators_lacks_is_said_in_one_line(bare, name):
    found = getattr(hardware, f"without_{name}")()
    assert found is not None and "\n" not in str(found)


def test_openvino_is_not_run_where_onednn_is_held_below_the_cpu(monkeypatch):
    limits = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    for held, told in ((limits, "ONEDNN_MAX_CPU_ISA=AVX2 limits oneDNN below this CPU"), ({}, None)):
        features = CpuFeatures((), (), (), held)
        monkeypatch.setattr(hardware, "cpu_features", lambda features=features: features)
        obstacle = hardware.without_whole_cpu()
        assert (obstacle and told in obstacle.reason) or (obstacle is None and told is None)
