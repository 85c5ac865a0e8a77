"""Who else is on the GPU that a launch works on, and what holds its clocks down, by NVML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

THROTTLES: Mapping[int, str] = {
    0x04: "its power limit",
    0x08: "a slowdown by hardware",
    0x20: "its temperature, by the driver",
    0x40: "its temperature, by hardware",
    0x80: "an external power brake",
}
"""Bits of NVML's clock event reasons that mean less than the clocks asked for (nvml.h)."""


@dataclass(frozen=True)
class GpuState:
    """Processes on the device beside ours, what throttles it, its clock; None and empty where unknown."""

    strangers: int = 0
    throttled: tuple[str, ...] = ()
    sm_mhz: float | None = None
    reason: str = ""

    def joined(self, later: GpuState) -> GpuState:
        """Return the worst of both, with the later clock."""
        throttled = tuple(dict.fromkeys((*self.throttled, *later.throttled)))
        return GpuState(
            max(self.strangers, later.strangers), throttled, later.sm_mhz, self.reason or later.reason
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a launch's record keeps; nothing of a launch that used no GPU."""
        if self == GpuState():
            return {}
        return {
            "gpu_strangers": self.strangers,
            "gpu_throttled": list(self.throttled),
            "gpu_sm_mhz": self.sm_mhz,
            "gpu_unknown": self.reason,
        }


def gpu_state(ours: int) -> GpuState:
    """Ask NVML about the first visible board, on which `ours` processes are ours; what fails is a reason.

    Processes are counted, not known by their number: in a container NVML numbers them as the host does.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # no library, or no driver
        return GpuState(reason=f"NVML: {error}")
    try:
        board = _first_visible(pynvml)
        processes = len(pynvml.nvmlDeviceGetComputeRunningProcesses(board))
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(board)
        clock = float(pynvml.nvmlDeviceGetClockInfo(board, pynvml.NVML_CLOCK_SM))
        return GpuState(max(0, processes - ours), throttles(reasons), clock)
    except (pynvml.NVMLError, AttributeError) as error:
        return GpuState(reason=f"NVML: {error}")
    finally:
        pynvml.nvmlShutdown()


def _first_visible(pynvml: Any) -> Any:
    """Return NVML's handle of the first visible board, without a context that would be one process more.

    By its number where that is how it is chosen: NVML counts as CUDA does under CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if chosen.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(chosen))
    return pynvml.nvmlDeviceGetHandleByUUID(chosen)


def throttles(reasons: int) -> tuple[str, ...]:
    """Return what holds the clocks down, from NVML's bit mask of clock event reasons."""
    return tuple(text for bit, text in THROTTLES.items() if reasons & bit)
