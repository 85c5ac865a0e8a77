"""The GPU's probe: what it says without a GPU, and with a board that answers as NVML would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from bench.instruments import gpu
from bench.instruments.gpu import GpuProbe
from bench.records import Measurement
from techniques.backends import accelerators

NAMES = {
    "gpu_allocated_peak_bytes",
    "gpu_reserved_peak_bytes",
    "gpu_process_bytes",
    "gpu_power_w",
    "gpu_utilization",
    "gpu_clocks_held",
}


class NVMLError(Exception):
    pass


class Board(SimpleNamespace):
    """Stands in for pynvml: 100 W, half busy, a stranger beside us, clocks held by the power limit."""

    NVMLError = NVMLError

    def __init__(self) -> None:
        super().__init__(opened=0)
        self.nvmlDeviceGetHandleByUUID = lambda uuid: uuid
        self.nvmlDeviceGetPowerUsage = lambda _: 100_000
        self.nvmlClocksThrottleReasonAll = 511
        self.nvmlClocksThrottleReasonGpuIdle = 1
        self.nvmlClocksThrottleReasonSwPowerCap = 4
        self.nvmlClocksThrottleReasonHwThermalSlowdown = 64
        self.nvmlDeviceGetCurrentClocksThrottleReasons = lambda _: 5
        self.nvmlDeviceGetUtilizationRates = lambda _: SimpleNamespace(gpu=50)
        self.nvmlDeviceGetComputeRunningProcesses = lambda _: [
            SimpleNamespace(pid=1, usedGpuMemory=1),
            SimpleNamespace(pid=os.getpid(), usedGpuMemory=7 << 20),
        ]

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    import torch

    found = Board()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    for name, value in {
        "synchronize": None,
        "reset_peak_memory_stats": None,
        "max_memory_allocated": 5 << 20,
        "max_memory_reserved": 6 << 20,
        "current_device": 0,
        "get_device_properties": SimpleNamespace(uuid="1234"),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    return found


@pytest.fixture(autouse=True)
def settles_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SETTLING_S", 0.001)
    monkeypatch.setattr(gpu, "_PERIOD_S", 0.001)


def measured(device: str) -> dict[str, Measurement]:
    with GpuProbe(device) as probe:
        time.sleep(0.05)
    return {entry.metric: entry for entry in probe.measurements()}


def refuse(*_: object) -> Any:
    raise NVMLError("Not Supported")


def test_a_board_that_answers_gives_every_metric(board: Board) -> None:
    found = measured("cuda")
    assert {name: found[name].value for name in NAMES} == {
        "gpu_allocated_peak_bytes": 5 << 20,
        "gpu_reserved_peak_bytes": 6 << 20,
        "gpu_process_bytes": 7 << 20,
        "gpu_power_w": 100.0,
        "gpu_utilization": 0.5,
        "gpu_clocks_held": 1.0,
    }
    assert all(entry.reason == "" for entry in found.values())
    assert f"SwPowerCap {found['gpu_clocks_held'].n}×" in found["gpu_clocks_held"].method
    assert "Idle" not in found["gpu_clocks_held"].method and "Thermal" not in found["gpu_clocks_held"].method
    assert board.opened == 0


@pytest.mark.parametrize(
    ("query", "metric"),
    [
        ("nvmlDeviceGetPowerUsage", "gpu_power_w"),
        ("nvmlDeviceGetUtilizationRates", "gpu_utilization"),
        ("nvmlDeviceGetComputeRunningProcesses", "gpu_process_bytes"),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", "gpu_clocks_held"),
    ],
)
def test_a_query_the_board_does_not_answer_is_unknown_with_nvmls_reason(
    board: Board, query: str, metric: str
) -> None:
    setattr(board, query, refuse)
    found = measured("cuda")
    assert found[metric].value is None
    assert "Not Supported" in found[metric].reason
    assert all(found[name].value is not None for name in NAMES - {metric})


def test_without_nvml_the_allocators_peaks_still_count(board: Board) -> None:
    board.nvmlInit = refuse  # type: ignore[method-assign]
    found = measured("cuda")
    assert found["gpu_allocated_peak_bytes"].value == 5 << 20
    for name in NAMES - {"gpu_allocated_peak_bytes", "gpu_reserved_peak_bytes"}:
        assert found[name].value is None
        assert "Not Supported" in found[name].reason


def test_a_process_that_nvml_does_not_list_is_unknown(board: Board) -> None:
    board.nvmlDeviceGetComputeRunningProcesses = lambda _: []
    entry = measured("cuda")["gpu_process_bytes"]
    assert entry.value is None
    assert entry.reason


def test_what_was_read_before_nvmls_means_have_settled_is_no_sample(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "SETTLING_S", 60.0)
    found = measured("cuda")
    for name in ("gpu_power_w", "gpu_utilization"):
        assert found[name].value is None and found[name].n == 0
        assert "settle" in found[name].reason
    assert found["gpu_process_bytes"].value == 7 << 20


def test_the_sampler_ends_when_the_work_raises(board: Board) -> None:
    probe = GpuProbe("cuda")
    with pytest.raises(ZeroDivisionError), probe:
        raise ZeroDivisionError
    assert probe._thread is not None
    assert not probe._thread.is_alive()


def test_memory_of_a_process_that_ours_started_is_ours(board: Board) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    board.nvmlDeviceGetComputeRunningProcesses = lambda _: [
        SimpleNamespace(pid=1, usedGpuMemory=1),
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=7 << 20),
        SimpleNamespace(pid=child.pid, usedGpuMemory=2 << 20),
    ]
    try:
        assert measured("cuda")["gpu_process_bytes"].value == 9 << 20
    finally:
        child.communicate(b"\n")


def test_of_a_tpu_what_xla_counts_is_told_and_the_rest_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    xla = SimpleNamespace(
        synchronize=lambda: None,
        reset_peak_memory_stats=lambda: None,
        max_memory_allocated=lambda: 5,
        max_memory_reserved=lambda: None,
    )
    monkeypatch.setattr(accelerators, "allocator", lambda name: xla)
    found = measured("tpu")
    assert found["gpu_allocated_peak_bytes"].value == 5
    assert "since the process began" in found["gpu_allocated_peak_bytes"].method
    assert all(found[name].reason for name in NAMES - {"gpu_allocated_peak_bytes"})


def test_another_device_is_not_probed() -> None:
    assert measured("cpu") == measured("mps") == {}


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no CUDA device")
def test_a_real_board_sees_the_memory_of_a_tensor() -> None:
    import torch

    with GpuProbe("cuda") as probe:
        held = torch.ones(16 << 20, device="cuda")
    found = {entry.metric: entry for entry in probe.measurements()}
    assert (found["gpu_allocated_peak_bytes"].value or 0) >= held.numel() * 4
    assert all(entry.value is not None or entry.reason for entry in found.values())
