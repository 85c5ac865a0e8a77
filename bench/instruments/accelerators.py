"""NVIDIA's accelerators as their driver describes them through NVML, without PyTorch, and others by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

from bench.instruments.nvml import NvmlSilent, open_nvml


def describe_accelerators() -> tuple[list[dict[str, Any]], str]:
    """Return what stays the same of each accelerator, as plain JSON values, and why there is none.

    What a board or its driver does not answer is None. Clocks are in MHz, power limits in watts.
    """
    try:
        pynvml = open_nvml()
    except NvmlSilent as error:
        return [], f"no NVIDIA driver answers ({error})"
    try:
        driver = {
            "driver": _ask(pynvml, pynvml.nvmlSystemGetDriverVersion),
            "cuda": _ask(pynvml, lambda: _cuda_version(pynvml)),
        }
        found = [_describe(pynvml, index, driver) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return [], f"NVML: {error}"
    finally:
        pynvml.nvmlShutdown()
    return found, "" if found else "the NVIDIA driver shows no device"


def visible_gpus() -> int | None:
    """Return how many NVIDIA GPUs this process may use, None where the driver does not say.

    `CUDA_VISIBLE_DEVICES` lists them; what stands behind a number below 0 is not seen.
    """
    boards, _ = describe_accelerators()
    if not boards:
        return None
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return len(boards)
    seen = takewhile(lambda entry: entry and not entry.startswith("-"), map(str.strip, listed.split(",")))
    return min(len(boards), len(list(seen)))


def named_accelerators(device: str) -> list[dict[str, Any]]:
    """Return an accelerator that NVML does not describe, as `describe_accelerators` does, by its name alone.

    Its library tells that, and is asked only where a stage has loaded it.
    """
    from techniques.backends.accelerators import device_name

    name = device_name(device)
    return [] if name is None else [{"name": name}]


_Question = Callable[[Any, Any], Any]

_QUESTIONS: Mapping[str, _Question] = {
    "name": lambda nvml, board: nvml.nvmlDeviceGetName(board),
    "memory_bytes": lambda nvml, board: nvml.nvmlDeviceGetMemoryInfo(board).total,
    "compute_capability": lambda nvml, board: _dotted(nvml.nvmlDeviceGetCudaComputeCapability(board)),
    "power_limit_w": lambda nvml, board: nvml.nvmlDeviceGetEnforcedPowerLimit(board) / 1e3,
    "max_power_limit_w": lambda nvml, board: (
        nvml.nvmlDeviceGetPowerManagementLimitConstraints(board)[1] / 1e3
    ),
    "max_sm_mhz": lambda nvml, board: nvml.nvmlDeviceGetMaxClockInfo(board, nvml.NVML_CLOCK_SM),
    "max_memory_mhz": lambda nvml, board: nvml.nvmlDeviceGetMaxClockInfo(board, nvml.NVML_CLOCK_MEM),
    "mig": lambda nvml, board: bool(nvml.nvmlDeviceGetMigMode(board)[0]),
    "energy_counter": lambda nvml, board: nvml.nvmlDeviceGetTotalEnergyConsumption(board) >= 0,
}


def _describe(pynvml: Any, index: int, driver: Mapping[str, Any]) -> dict[str, Any]:
    board = pynvml.nvmlDeviceGetHandleByIndex(index)
    answers = {name: _ask(pynvml, question, pynvml, board) for name, question in _QUESTIONS.items()}
    return {**answers, **driver}


def _ask(pynvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None


def _cuda_version(pynvml: Any) -> str:
    number = pynvml.nvmlSystemGetCudaDriverVersion_v2()
    return f"{number // 1000}.{number % 1000 // 10}"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
