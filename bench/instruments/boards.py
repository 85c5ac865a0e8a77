"""Other processes on a launch's GPU, and how long its clocks were lowered, by NVML."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from bench.instruments.nvml import NvmlSilent, current_board, first_visible_board, open_nvml
from bench.records import Measurement

POLICIES: Mapping[str, tuple[str, ...]] = {
    "gpu_power_limited": ("NVML_PERF_POLICY_POWER",),
    "gpu_throttled": (
        "NVML_PERF_POLICY_THERMAL",
        "NVML_PERF_POLICY_BOARD_LIMIT",
        "NVML_PERF_POLICY_RELIABILITY",
    ),
}
"""What holds a GPU's clocks below those asked for (nvmlPerfPolicyType_t), by metric.

The power limit is a board's own: large products always run into it. The others come and go.
"""


@dataclass(frozen=True)
class GpuState:
    """Other processes on the device, and its clock; None where unknown, for the `reason`."""

    strangers: int = 0
    sm_mhz: float | None = None
    reason: str = ""

    def joined(self, later: GpuState) -> GpuState:
        """Return the worst of both, with the later clock."""
        strangers = max(self.strangers, later.strangers)
        return GpuState(strangers, later.sm_mhz, self.reason or later.reason)

    def to_json(self) -> dict[str, Any]:
        """Return what a launch's record keeps; nothing of a launch that used no GPU."""
        if self == GpuState():
            return {}
        return {"gpu_strangers": self.strangers, "gpu_sm_mhz": self.sm_mhz, "gpu_unknown": self.reason}


def gpu_state(ours: int) -> GpuState:
    """Ask NVML about the first visible board, on which `ours` processes are ours; what fails is a reason.

    Processes are counted, not known by their number: in a container NVML numbers them as the host does.
    """
    try:
        pynvml = open_nvml()
    except NvmlSilent as error:
        return GpuState(reason=f"NVML: {error}")
    try:
        board = first_visible_board(pynvml)
        processes = len(pynvml.nvmlDeviceGetComputeRunningProcesses(board))
        clock = float(pynvml.nvmlDeviceGetClockInfo(board, pynvml.NVML_CLOCK_SM))
        return GpuState(max(0, processes - ours), clock)
    except (pynvml.NVMLError, AttributeError) as error:
        return GpuState(reason=f"NVML: {error}")
    finally:
        pynvml.nvmlShutdown()


class Throttling:
    """Measures the share of a `with` block for which PyTorch's current GPU was held below its clocks.

    By the driver's counters of violation time, in nanoseconds: a reason that is read afterwards is that of a
    GPU at rest. On another device it measures nothing.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        self._pynvml: Any = None
        self._before_ns: dict[str, float] = {}
        self._shares: dict[str, float] = {}
        self._reason = ""

    def __enter__(self) -> Throttling:
        if self._cuda:
            try:
                self._pynvml = open_nvml()
                self._before_ns = self._held_ns()
            except Exception as error:  # no library, no driver, or a board that does not count
                self._reason = f"NVML: {error}"
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall_ns = 1e9 * max(time.perf_counter() - self._began, 1e-9)
        if self._before_ns:
            after = self._held_ns()
            self._shares = {name: (after[name] - held) / wall_ns for name, held in self._before_ns.items()}
        if self._pynvml is not None:
            self._pynvml.nvmlShutdown()

    def measurements(self) -> tuple[Measurement, ...]:
        """Return one share for each of `POLICIES`; None with the reason where NVML does not count."""
        if not self._cuda:
            return ()
        method = "NVML's violation time"
        return tuple(
            Measurement(name, self._shares.get(name), method=method, reason=self._reason) for name in POLICIES
        )

    def _held_ns(self) -> dict[str, float]:
        nvml, board = self._pynvml, current_board(self._pynvml)
        return {
            metric: sum(
                float(nvml.nvmlDeviceGetViolationStatus(board, getattr(nvml, policy)).violationTime)
                for policy in policies
            )
            for metric, policies in POLICIES.items()
        }
