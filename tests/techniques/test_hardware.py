"""Whether a backend's hardware is here, from what drivers, PyTorch builds and settings look like."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from techniques.backends import hardware

CPU_BUILD = "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n"
CUDA_BUILD = "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pretend an NVIDIA driver; returns a function that says which build of PyTorch is installed."""
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04")
    monkeypatch.setattr(hardware, "_DRIVER", tmp_path / "version")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

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


def test_without_a_driver_it_wants_hardware_and_names_no_command(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "_DRIVER", tmp_path / "none")
    monkeypatch.setattr(hardware.shutil, "which", lambda name: None)
    found = hardware.without_cuda()
    assert found is not None and "NVIDIA GPU" in found.hardware and not found.command
