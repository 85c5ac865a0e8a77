"""What the tests of whole runs share: the command line as a user calls it, and what a store then holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

Bench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Run `python -m bench` with the arguments; output is captured, nothing is raised."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "bench", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=560, check=False)

    return call


@pytest.fixture(scope="session")
def plugins() -> Path:
    """Return the folder of the tests' plug-in files."""
    return Path(__file__).parent / "plugins"


class NVMLError(Exception):
    pass


class RecordedNvml(SimpleNamespace):
    """Stands in for pynvml with the answers of one H100 SXM; set an attribute to change one of them."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2

    def __init__(self) -> None:
        super().__init__(opened=0, boards=["NVIDIA H100 80GB HBM3"])
        self.nvmlSystemGetDriverVersion = lambda: "580.159.04"
        self.nvmlSystemGetCudaDriverVersion_v2 = lambda: 13000
        self.nvmlDeviceGetCount = lambda: len(self.boards)
        self.nvmlDeviceGetHandleByIndex = lambda index: index
        self.nvmlDeviceGetName = lambda board: self.boards[board]
        self.nvmlDeviceGetMemoryInfo = lambda _: SimpleNamespace(total=81559 << 20)
        self.nvmlDeviceGetCudaComputeCapability = lambda _: (9, 0)
        self.nvmlDeviceGetEnforcedPowerLimit = lambda _: 650_000
        self.nvmlDeviceGetPowerManagementLimitConstraints = lambda _: [200_000, 700_000]
        self.nvmlDeviceGetMaxClockInfo = lambda _, kind: {1: 1980, 2: 2619}[kind]
        self.nvmlDeviceGetMigMode = lambda _: [0, 0]
        self.nvmlDeviceGetTotalEnergyConsumption = lambda _: 123_456

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def refuse(self, *_: object) -> None:
        raise NVMLError("Not Supported")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> RecordedNvml:
    """Put recorded answers in the place of NVML."""
    recorded = RecordedNvml()
    monkeypatch.setitem(sys.modules, "pynvml", recorded)
    return recorded
