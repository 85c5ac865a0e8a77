"""What NVML answers becomes a description; what it does not answer is unknown, never a crash."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from bench.instruments.accelerators import describe_accelerators, named_accelerators
from bench.instruments.environment import describe


def test_a_board_is_described_with_its_driver_and_limits(nvml):
    (board,), reason = describe_accelerators()
    assert board == {
        "name": "NVIDIA H100 80GB HBM3",
        "memory_bytes": 81559 << 20,
        "compute_capability": "9.0",
        "power_limit_w": 650.0,
        "max_power_limit_w": 700.0,
        "max_sm_mhz": 1980,
        "max_memory_mhz": 2619,
        "mig": False,
        "energy_counter": True,
        "driver": "580.159.04",
        "cuda": "13.0",
    }
    assert reason == "" and nvml.opened == 0
    assert json.loads(json.dumps(board)) == board


@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("nvmlDeviceGetMemoryInfo", {"memory_bytes"}),  # boards that share the CPU's memory
        ("nvmlDeviceGetMigMode", {"mig"}),  # boards for the desktop
        ("nvmlDeviceGetTotalEnergyConsumption", {"energy_counter"}),  # before Volta
        ("nvmlDeviceGetMaxClockInfo", {"max_sm_mhz", "max_memory_mhz"}),
        ("nvmlSystemGetCudaDriverVersion_v2", {"cuda"}),
    ],
)
def test_what_a_board_does_not_answer_is_unknown_and_the_rest_stays(nvml, query, unknown):
    setattr(nvml, query, nvml.refuse)
    (board,), reason = describe_accelerators()
    assert {name for name, value in board.items() if value is None} == unknown
    assert reason == ""


def test_without_a_driver_there_is_none_and_it_says_why(nvml):
    nvml.nvmlInit = nvml.refuse
    assert describe_accelerators() == ([], "no NVIDIA driver answers (Not Supported)")
    assert nvml.opened == 0


def test_a_driver_without_a_board_says_so_and_is_closed(nvml):
    nvml.boards = []
    assert describe_accelerators() == ([], "the NVIDIA driver shows no device")
    assert nvml.opened == 0


def test_a_driver_that_fails_midway_is_closed(nvml):
    nvml.nvmlDeviceGetCount = nvml.refuse
    assert describe_accelerators() == ([], "NVML: Not Supported")
    assert nvml.opened == 0


def test_the_environment_of_a_launch_names_the_boards_on_cuda_alone(nvml):
    assert [board["name"] for board in describe("cuda")["accelerators"]] == nvml.boards
    assert describe("cpu")["accelerators"] == []


def test_boards_of_other_makers_are_named_by_the_library_that_drives_them(monkeypatch: pytest.MonkeyPatch):
    module = SimpleNamespace(get_device_name=lambda: "AMD Instinct MI300X")
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    assert named_accelerators("rocm") == [{"name": "AMD Instinct MI300X"}]
    chip = SimpleNamespace(device_kind="TPU v5 lite")
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=lambda platform: [chip]))
    assert named_accelerators("tpu") == [{"name": "TPU v5 lite"}]
    monkeypatch.delitem(sys.modules, "jax")
    assert named_accelerators("tpu") == []  # no stage loaded it, and a name is no reason to


@pytest.mark.skipif("__import__('torch').xpu.is_available()", reason="an Intel GPU is here")
def test_what_has_no_name_here_is_not_named():
    assert named_accelerators("xpu") == named_accelerators("mps") == []
