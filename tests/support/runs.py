"""What the tests of whole runs share: the command line as a user calls it, and what a store then holds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.__main__ import INTERNAL

Bench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Run `python -m bench` with the arguments; output is captured, nothing is raised."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "bench", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=560, check=False)

    return call


@pytest.fixture(scope="session")
def command() -> Bench:
    """Run the command line in this process, which starts none: for what neither trains nor has a plug-in."""
    from tests.fuzz.harness import run

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = tuple(map(str, arguments))
        outcome = run(words)
        assert not outcome.uncaught and outcome.code != INTERNAL, outcome.uncaught or outcome.err
        return subprocess.CompletedProcess(words, outcome.code, outcome.out, outcome.err)

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


def mount(*words: object) -> None:
    """Mount something, or skip the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Give a folder on a disk of as many bytes as asked for; asking again changes its size."""
    folder = tmp_path / "disk"

    def resize(size_bytes: int) -> Path:
        if folder.exists():
            mount("-o", f"remount,size={size_bytes}", folder)
        else:
            folder.mkdir()
            mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", folder)
        return folder

    yield resize
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Make a folder read-only, for root too, until the test ends."""
    folders: list[Path] = []

    def forbid(folder: Path) -> None:
        mount("--bind", folder, folder)
        folders.append(folder)
        mount("-o", "remount,bind,ro", folder)

    yield forbid
    for folder in folders:
        subprocess.run(["umount", "--lazy", folder], check=True)
